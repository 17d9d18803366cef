"""Recipes: functions that wire stages, found by name, by a YAML of numbers or in a Python file."""

from __future__ import annotations

import inspect
import typing
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from herd.core.artifacts import Artifact
from herd.core.errors import SettingsError
from herd.core.plugins import load_plugins, load_user_file, module_name
from herd.core.registry import Registry
from herd.core.settings import DEEPEST, build, dump, merge_settings, parse_yaml, read_yaml

RecipeFunction = Callable[..., Artifact]


@dataclass(frozen=True)
class Recipe:
    """A wiring with its numbers filled in: everything needed to plan. executor: where its ranks are started, from the
    line `executor:` of its file; it counts for nothing else. plugins: the user's files that were loaded for it."""

    name: str
    function: RecipeFunction
    settings: Any
    executor: str = "local"
    plugins: tuple[str, ...] = ()

    def plan(self) -> Artifact:
        """The artifact at the recipe's end, planned with all that it needs."""
        return self.function(self.settings)

    def to_row(self) -> dict[str, Any]:
        """The complete numbers, as a YAML file for `herd run` holds them."""
        own = {"plugins": list(self.plugins)} if self.plugins else {}
        return {"recipe": self.name, **own, **dump(self.settings)}


def load_recipe(
    reference: str, recipes: Registry[RecipeFunction], overrides: Sequence[str] = (), plugins: Sequence[Path | str] = ()
) -> Recipe:
    """The recipe that `reference` names, with `--set` values laid over its numbers.

    reference: the name of a packaged recipe, a YAML file whose `recipe:` names the wiring (a packaged
    name, or a Python file beside it), or a Python file with one function marked by `recipes.add`. plugins: files of
    the user's own that are loaded before; those on the line `plugins:` of the YAML file lie beside it.
    Raises SettingsError with file, line and the nearest valid name.
    """
    loaded = load_plugins(plugins, "--plugins")
    path = Path(reference)
    if path.suffix in (".yaml", ".yml"):
        values, lines = read_yaml(path)
        wiring = values.pop("recipe", None)
        if not isinstance(wiring, str):
            raise SettingsError(f"{path}: names no wiring; add a line such as `recipe: tiny`")
        executor = values.pop("executor", "local")
        loaded += load_plugins(_plugin_files(values.pop("plugins", []), path), f"the line `plugins:` of {path}")
        function = _wiring(wiring, recipes, path.parent)
        beside, more = _packaged_numbers(function)
        loaded += more
        own = merge_settings(beside, values, _kind(function))
        return replace(
            _fill(function, own, overrides, where=str(path), lines=lines),
            executor=str(executor),
            plugins=tuple(dict.fromkeys(loaded)),
        )
    function = _wiring(reference, recipes, Path())
    numbers, more = _packaged_numbers(function)
    return replace(_fill(function, numbers, overrides, where=reference, lines={}), plugins=(*loaded, *more))


def wiring_name(reference: str) -> str:
    """What names the wiring of `reference`: the line `recipe:` of a YAML file, else `reference` itself."""
    path = Path(reference)
    wiring = read_yaml(path)[0].get("recipe") if path.suffix in (".yaml", ".yml") else None
    return wiring if isinstance(wiring, str) else reference


def _plugin_files(names: object, recipe: Path) -> list[Path]:
    """The files that a recipe's `plugins:` names, from the recipe's folder on."""
    listed = [names] if isinstance(names, str) else names
    if not isinstance(listed, list) or not all(isinstance(name, str) for name in listed):
        raise SettingsError(f"{recipe}: plugins is {names!r}; write a list of files, such as `plugins: [mine.py]`")
    return [recipe.parent / name for name in listed]


def _wiring(name: str, recipes: Registry[RecipeFunction], beside: Path) -> RecipeFunction:
    if not name.endswith(".py"):
        return recipes.get(name)
    path = (beside / name).resolve()
    if not path.exists():
        raise SettingsError(f"{path}: there is no such file; check the path of the recipe")
    before = set(recipes.loaded_plugins())
    module = load_user_file(path, module_name(path))
    # Its own, or those of files beside it; it may import herd's.
    functions = [
        function
        for name, function in recipes.loaded_plugins().items()
        if function.__module__ == module.__name__
        or (name not in before and not function.__module__.startswith("herd."))
    ]
    if len(functions) != 1:
        raise SettingsError(f"{path}: has {len(functions)} recipes; mark exactly one function with @recipes.add")
    return functions[0]


def _packaged_numbers(function: RecipeFunction) -> tuple[dict[str, Any], tuple[str, ...]]:
    """The numbers in the YAML file beside the wiring that has its name, and the plug-ins it loads; none is fine."""
    beside = Path(inspect.getfile(function)).with_suffix(".yaml")
    if not beside.exists():
        return {}, ()
    values, _ = read_yaml(beside)
    for name in ("recipe", "executor"):
        values.pop(name, None)
    return values, load_plugins(_plugin_files(values.pop("plugins", []), beside), f"the line `plugins:` of {beside}")


def _fill(
    function: RecipeFunction, values: dict[str, Any], overrides: Sequence[str], *, where: str, lines: dict[str, int]
) -> Recipe:
    kind = _kind(function)
    for text in overrides:
        values = merge_settings(values, parse_override(text), kind)
    if overrides:
        where = f"{where} with --set"
    return Recipe(function.__name__, function, build(kind, values, where=where, lines=lines))


def _kind(function: RecipeFunction) -> Any:
    """The type of a recipe's settings: that of its first argument."""
    return next(iter(typing.get_type_hints(function, include_extras=True).values()))


def parse_override(text: str) -> dict[str, Any]:
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
