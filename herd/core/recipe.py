"""Recipes: functions that wire stages, found by name, by a YAML of numbers or in a Python file."""

from __future__ import annotations

import inspect
import typing
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from herd.core.artifacts import Artifact
from herd.core.errors import SettingsError, did_you_mean
from herd.core.plugins import load_plugins, load_user_file, module_name
from herd.core.registry import Registry
from herd.core.settings import DEEPEST, build, dump, merge_settings, parse_yaml, read_yaml

RecipeFunction = Callable[..., Artifact]


@dataclass(frozen=True)
class Recipe:
    """A wiring with its numbers filled in: everything needed to plan. name: that of a preset, where one was named.
    executor: where its ranks are started, from the
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
        return {"recipe": self.function.__name__, **own, **dump(self.settings)}


def load_recipe(
    reference: str, recipes: Registry[RecipeFunction], overrides: Sequence[str] = (), plugins: Sequence[Path | str] = ()
) -> Recipe:
    """The recipe that `reference` names, with `--set` values laid over its numbers.

    reference: the name of a packaged recipe or preset, a YAML file whose `recipe:` names one (or a Python file beside
    it), or a Python file with one function marked by `recipes.add`. plugins: files of the user's own that are loaded
    before; those on the line `plugins:` of the YAML file lie beside it.
    Raises SettingsError with file, line and the nearest valid name.
    """
    path = Path(reference)
    if path.suffix in (".yaml", ".yml"):
        values, lines = read_yaml(path)
        return recipe_from(values, recipes, overrides, plugins, where=path, lines=lines)
    loaded = load_plugins(plugins, "--plugins")
    packaged = _packaged(reference, recipes, Path())
    return replace(
        _fill(reference, packaged.function, packaged.numbers, overrides, where=reference, lines={}),
        plugins=(*loaded, *packaged.plugins),
    )


def recipe_from(
    values: Mapping[str, Any], recipes: Registry[RecipeFunction], overrides: Sequence[str] = (),
    plugins: Sequence[Path | str] = (), *, where: Path, lines: Mapping[str, int] | None = None,
) -> Recipe:  # fmt: skip
    """The recipe of what a YAML file says. where: the file, which need not be there; what `values` name lies beside it.

    Raises SettingsError as `load_recipe` does."""
    loaded = load_plugins(plugins, "--plugins")
    own = dict(values)
    name = own.pop("recipe", None)
    if not isinstance(name, str):
        raise SettingsError(f"{where}: names no wiring; add a line such as `recipe: tiny`")
    executor = own.pop("executor", "local")
    loaded += load_plugins(_plugin_files(own.pop("plugins", []), where), f"the line `plugins:` of {where}")
    packaged = _packaged(name, recipes, where.parent)
    numbers = merge_settings(packaged.numbers, own, _kind(packaged.function))
    return replace(
        _fill(name, packaged.function, numbers, overrides, where=str(where), lines=lines or {}),
        executor=str(executor),
        plugins=tuple(dict.fromkeys((*loaded, *packaged.plugins))),
    )


def wiring_name(reference: str) -> str:
    """What names the wiring of `reference`: the line `recipe:` of a YAML file, else `reference` itself."""
    path = Path(reference)
    wiring = read_yaml(path)[0].get("recipe") if path.suffix in (".yaml", ".yml") else None
    return wiring if isinstance(wiring, str) else reference


def executor_name(reference: str) -> str | None:
    """What the line `executor:` of a YAML file names; None where there is none, or `reference` is no such file."""
    path = Path(reference)
    name = read_yaml(path)[0].get("executor") if path.suffix in (".yaml", ".yml") else None
    return name if isinstance(name, str) else None


def packaged_presets(recipes: Registry[RecipeFunction]) -> dict[str, Path]:
    """The YAML files beside the packaged recipes that lie over one of them or over each other, by their names."""
    wirings = recipes.all()
    return {file.stem: file for file in sorted(recipes.folder.glob("*.yaml")) if file.stem not in wirings}


def preset_summary(file: Path) -> str:
    """The first line of the comment that a preset begins with."""
    return file.read_text(encoding="utf-8").partition("\n")[0].lstrip("# ")


def _plugin_files(names: object, recipe: Path) -> list[Path]:
    """The files that a recipe's `plugins:` names, from the recipe's folder on."""
    listed = [names] if isinstance(names, str) else names
    if not isinstance(listed, list) or not all(isinstance(name, str) for name in listed):
        raise SettingsError(f"{recipe}: plugins is {names!r}; write a list of files, such as `plugins: [mine.py]`")
    return [recipe.parent / name for name in listed]


def _own_wiring(name: str, beside: Path, recipes: Registry[RecipeFunction]) -> RecipeFunction:
    """The recipe in a file of the user's own."""
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


@dataclass(frozen=True)
class _Packaged:
    """A wiring, the numbers that the packaged files give it, and the plug-ins that were loaded for them."""

    function: RecipeFunction
    numbers: dict[str, Any]
    plugins: tuple[str, ...]


def _packaged(name: str, recipes: Registry[RecipeFunction], beside: Path, passed: tuple[str, ...] = ()) -> _Packaged:
    """What `name` leads to: a wiring with the numbers in the YAML file beside it that has its name, below those of the
    presets on the way. beside: where a wiring of the user's own lies. passed: the presets that led here."""
    if name in passed:
        raise SettingsError(f"presets that name each other: {' -> '.join((*passed, name))}; let one name a wiring")
    if name.endswith(".py") or name in recipes.all():
        function = _own_wiring(name, beside, recipes) if name.endswith(".py") else recipes.get(name)
        return _over(_Packaged(function, {}, ()), Path(inspect.getfile(function)).with_suffix(".yaml"))
    presets = packaged_presets(recipes)
    if name not in presets:
        raise SettingsError(
            f"{name!r} is not one of the {recipes.kind}{did_you_mean(name, [*recipes.all(), *presets])}"
        )
    below = _packaged(wiring_name(str(presets[name])), recipes, presets[name].parent, (*passed, name))
    return _over(below, presets[name])


def _over(below: _Packaged, file: Path) -> _Packaged:
    """`below` with the numbers of a packaged file laid over its own; a file that is not there has none."""
    if not file.exists():
        return below
    values, _ = read_yaml(file)
    for name in ("recipe", "executor"):
        values.pop(name, None)
    loaded = load_plugins(_plugin_files(values.pop("plugins", []), file), f"the line `plugins:` of {file}")
    numbers = merge_settings(below.numbers, values, _kind(below.function))
    return replace(below, numbers=numbers, plugins=below.plugins + loaded)


def _fill(
    name: str, function: RecipeFunction, values: dict[str, Any], overrides: Sequence[str], *, where: str,
    lines: Mapping[str, int],
) -> Recipe:  # fmt: skip
    kind = _kind(function)
    for text in overrides:
        values = merge_settings(values, parse_override(text), kind)
    if overrides:
        where = f"{where} with --set"
    return Recipe(_own_name(name, function), function, build(kind, values, where=where, lines=lines))


def _own_name(name: str, function: RecipeFunction) -> str:
    """What a recipe is called: the packaged name, and that of the function for a file of the user's own."""
    return function.__name__ if name.endswith(".py") else name


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
