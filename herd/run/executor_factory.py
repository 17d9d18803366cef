"""Executors by the names that people give them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from herd.core.errors import SettingsError
from herd.core.executor import Executor, RestartPolicy
from herd.run.executors import LocalExecutor, RayExecutor
from herd.run.launcher import LauncherExecutor


def make_executor(
    name: str,
    worker_limit: Callable[[], int] = lambda: 1,
    warn: Callable[[str], None] = print,
    timeout_seconds: float = RestartPolicy().timeout_seconds,
) -> Executor:
    """`local`, `joined:FOLDER`, `ray` or `ray://HOST:PORT` as an executor. warn: called when less is to be had than
    allowed. timeout_seconds: after which a rank that others started counts as dead.

    Raises SettingsError for another name."""
    if name == "local":
        return LocalExecutor(worker_limit, warn)
    if name.startswith("joined:"):
        return LauncherExecutor(Path(name.removeprefix("joined:")), timeout_seconds)
    if name == "ray" or name.startswith("ray://"):
        return RayExecutor("" if name == "ray" else name)
    raise SettingsError(f"executor {name!r}: there are local, torchrun, slurm, ray and ray://HOST:PORT")
