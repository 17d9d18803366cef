"""Rules to curate by, by name or from a YAML file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from herd.core.errors import SettingsError, did_you_mean
from herd.core.recipe import parse_set
from herd.core.settings import build, merge, read_yaml
from herd.corpus.stages import CurateSettings

_FOLDER = Path(__file__).parent / "rules"


def names() -> list[str]:
    """The packaged rules."""
    return sorted(file.stem for file in _FOLDER.glob("*.yaml"))


def load_rules(reference: str, sets: Sequence[str] = ()) -> CurateSettings:
    """The settings of a packaged name or a YAML file, with `--set` values laid over them.

    Raises SettingsError with file, line and the nearest valid name.
    """
    path = Path(reference)
    if path.suffix not in (".yaml", ".yml"):
        if reference not in names():
            known = ", ".join(names())
            hint = did_you_mean(reference, names())
            raise SettingsError(f"rules {reference!r}: neither a .yaml file nor one of {known}{hint}")
        path = _FOLDER / f"{reference}.yaml"
    values, lines = read_yaml(path)
    for text in sets:
        values = merge(values, parse_set(text))
    return build(CurateSettings, values, where=f"{path} with --set" if sets else str(path), lines=lines)
