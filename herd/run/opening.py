"""Executors by the names that people give them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from herd.core.errors import SettingsError
from herd.core.executor import Patience, Place
from herd.run.executors import LocalPlace, RayPlace
from herd.run.joined import JoinedPlace


def open_place(
    name: str,
    allowed: Callable[[], int] = lambda: 1,
    warn: Callable[[str], None] = print,
    silent_seconds: float = Patience().silent_seconds,
) -> Place:
    """`local`, `joined:FOLDER`, `ray` or `ray://HOST:PORT` as a place. warn: told when less is to be had than allowed.
    silent_seconds: after which a rank that others started counts as dead.

    Raises SettingsError for another name."""
    if name == "local":
        return LocalPlace(allowed, warn)
    if name.startswith("joined:"):
        return JoinedPlace(Path(name.removeprefix("joined:")), silent_seconds)
    if name == "ray" or name.startswith("ray://"):
        return RayPlace("" if name == "ray" else name)
    raise SettingsError(f"place {name!r}: there are local, torchrun, slurm, ray and ray://HOST:PORT")
