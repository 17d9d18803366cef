"""Recipes: functions that wire stages, found by name, by a YAML of numbers or in a Python file."""

from __future__ import annotations

import hashlib
import inspect
import typing
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from herd.core.artifacts import Artifact
from herd.core.errors import SettingsError
from herd.core.registry import Registry
from herd.core.settings import DEEPEST, build, dump, merge, parse_yaml, read_yaml
from herd.core.stage import load_file

RecipeFunction = Callable[..., Artifact]


@dataclass(frozen=True)
class Recipe:
    """A wiring with its numbers filled in: everything needed to plan. place: where its ranks are started, from the
    line `place:` of its file; it counts for nothing else."""

    name: str
    function: RecipeFunction
    settings: Any
    place: str = "local"

    def plan(self) -> Artifact:
        """The artifact at the recipe's end, planned with all that it needs."""
        return self.function(self.settings)

    def to_row(self) -> dict[str, Any]:
        """The complete numbers, as a YAML file for `herd run` holds them."""
        return {"recipe": self.name, **dump(self.settings)}


def load_recipe(reference: str, recipes: Registry[RecipeFunction], sets: Sequence[str] = ()) -> Recipe:
    """The recipe that `reference` names, with `--set` values laid over its numbers.

    reference: the name of a packaged recipe, a YAML file whose `recipe:` names the wiring (a packaged
    name, or a Python file beside it), or a Python file with one function marked by `recipes.add`.
    Raises SettingsError with file, line and the nearest valid name.
    """
    path = Path(reference)
    if path.suffix in (".yaml", ".yml"):
        values, lines = read_yaml(path)
        wiring = values.pop("recipe", None)
        if not isinstance(wiring, str):
            raise SettingsError(f"{path}: names no wiring; add a line such as `recipe: tiny`")
        place = values.pop("place", "local")
        function = _wiring(wiring, recipes, path.parent)
        own = merge(_packaged_numbers(function), values, _kind(function))
        return replace(_fill(function, own, sets, where=str(path), lines=lines), place=str(place))
    function = _wiring(reference, recipes, Path())
    return _fill(function, _packaged_numbers(function), sets, where=reference, lines={})


def _wiring(name: str, recipes: Registry[RecipeFunction], beside: Path) -> RecipeFunction:
    if not name.endswith(".py"):
        return recipes.get(name)
    path = (beside / name).resolve()
    if not path.exists():
        raise SettingsError(f"{path}: there is no such file; check the path of the recipe")
    before = set(recipes.all())
    # Two files of one name in two folders are two modules.
    module = load_file(path, f"herd_recipe_{path.stem}_{hashlib.sha256(str(path).encode()).hexdigest()[:8]}")
    found = [value for key, value in recipes.all().items() if key not in before or value.__module__ == module.__name__]
    if len(found) != 1:
        raise SettingsError(f"{path}: has {len(found)} recipes; mark exactly one function with @recipes.add")
    return found[0]


def _packaged_numbers(function: RecipeFunction) -> dict[str, Any]:
    """The numbers in the YAML file beside the wiring that has its name; none is fine."""
    beside = Path(inspect.getfile(function)).with_suffix(".yaml")
    if not beside.exists():
        return {}
    values, _ = read_yaml(beside)
    values.pop("recipe", None)
    return values


def _fill(
    function: RecipeFunction, values: dict[str, Any], sets: Sequence[str], *, where: str, lines: dict[str, int]
) -> Recipe:
    kind = _kind(function)
    for text in sets:
        values = merge(values, parse_set(text), kind)
    if sets:
        where = f"{where} with --set"
    return Recipe(function.__name__, function, build(kind, values, where=where, lines=lines))


def _kind(function: RecipeFunction) -> Any:
    """The type of a recipe's settings: that of its first argument."""
    return next(iter(typing.get_type_hints(function, include_extras=True).values()))


def parse_set(text: str) -> dict[str, Any]:
    """`a.b=1` as {a: {b: 1}}. Raises SettingsError when there is no `=`."""
    name, equals, value = text.partition("=")
    if not equals or not name:
        raise SettingsError(f"--set {text}: write --set name=value, such as --set base.lr=3e-3")
    parts = name.strip().split(".")
    if len(parts) > DEEPEST:
        raise SettingsError(f"--set {name[:40]}...: a name of {len(parts):,} parts; no setting lies so deep")
    parsed: Any = parse_yaml(value, where=f"--set {name}")
    for part in reversed(parts):
        parsed = {part: parsed}
    return parsed
