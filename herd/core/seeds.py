"""Random numbers that depend on a seed and on names, so that no two users of one seed disturb each other."""

from __future__ import annotations

import dataclasses
import hashlib
import random
from collections.abc import Mapping
from typing import Any, TypeVar

from herd.core.registry import PluginConfig

_SettingsT = TypeVar("_SettingsT")
_STRIDE = 1000  # a recipe has a few seeds of its own; those of two of its runs must not meet


def rng(seed: int, *names: object) -> random.Random:
    """A generator of its own for everything called by `names`.

    Adding a draw in one place must not change what another place draws; one shared stream would.
    """
    return random.Random("/".join(map(str, (seed, *names))))


def fraction(seed: int, *names: object) -> float:
    """A fixed number in 0..1 for `names`; decides splits that every process must agree on."""
    text = "/".join(map(str, (seed, *names)))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") / 2**64


def spread_seed(settings: _SettingsT) -> _SettingsT:
    """The settings of a recipe whose `seed` all seeds below follow: a thousand times it is added to each field called
    `seed` or `seeds`, of plug-ins too, and it is 0 itself. The seed 0 changes nothing; a recipe without one stays."""
    fields: Any = settings
    if not hasattr(fields, "seed"):
        return settings
    offset = _STRIDE * fields.seed
    return dataclasses.replace(_offset_seeds(fields, offset), seed=0)


def _offset_seeds(value: Any, offset: int, name: str = "") -> Any:
    if name in ("seed", "seeds") and isinstance(value, int):
        return value + offset
    if isinstance(value, PluginConfig):
        own = {setting: _offset_seeds(inner, offset, setting) for setting, inner in value.settings.items()}
        return dataclasses.replace(value, settings=own)
    if isinstance(value, tuple) and not hasattr(value, "_fields"):
        return tuple(_offset_seeds(inner, offset, name) for inner in value)
    if isinstance(value, Mapping):  # its names are those of sources and the like
        return {key: _offset_seeds(inner, offset) for key, inner in value.items()}
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = [field.name for field in dataclasses.fields(value) if field.init]
        changes = {field: _offset_seeds(getattr(value, field), offset, field) for field in fields}
        return dataclasses.replace(value, **changes)
    return value
