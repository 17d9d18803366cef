"""Recipes are found by name or in a file, and filled in."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from herd.core.artifacts import Tokens
from herd.core.errors import SettingsError
from herd.core.recipe import (
    RecipeFunction,
    executor_name,
    load_recipe,
    packaged_presets,
    parse_override,
    preset_summary,
)
from herd.core.registry import Registry
from herd.core.settings import DEEPEST, PositiveInt, settings, write_yaml
from herd.core.stage import Stage
from herd.recipes import recipes
from herd.run.runner import run_stages
from tests.core.stages_for_tests import join, write

OWN = '''
from herd.core.artifacts import Corpus
from herd.core.settings import PositiveInt, settings
from herd.core.stage import Work, stage
from herd.recipes import recipes

@settings
class OwnSettings:
    size: PositiveInt = 3

@stage(paper="-", version=1)
def own_stage(work: Work, *, size: PositiveInt) -> Corpus:
    """A file."""
    (work.out / "text").write_text("x" * size)
    return Corpus(work.out)

@recipes.add
def {name}(s: OwnSettings) -> Corpus:
    """One file."""
    return own_stage(size=s.size)
'''


@pytest.mark.parametrize("jobs", [0, 1])
def test_a_recipe_in_a_users_own_file_runs_in_workers_too(jobs: int, tmp_path: Path) -> None:
    file = tmp_path / f"mine{jobs}.py"
    file.write_text(OWN.replace("{name}", f"mine{jobs}").replace("own_stage", f"own_stage{jobs}"))
    recipe = load_recipe(str(file), recipes, ["size=5"])
    made = run_stages(recipe.plan(), tmp_path / "run", jobs=jobs)
    assert (made.path / "text").read_text() == "xxxxx"
    numbers = tmp_path / "numbers.yaml"
    numbers.write_text(f"recipe: mine{jobs}.py\nsize: 7\n")
    assert load_recipe(str(numbers), recipes).settings.size == 7


@settings
class PartSettings:
    text: str = "x"


@settings
class OnlyForTests:
    times: PositiveInt = 1
    part: PartSettings = PartSettings()


def small(s: OnlyForTests) -> Tokens:
    """A text, so many times."""
    return join((write(text=s.part.text),), times=s.times)


@pytest.fixture
def own() -> Registry[RecipeFunction]:
    """Recipes of these tests."""
    registry: Registry[RecipeFunction] = Registry("recipes of tests", "tests.core.test_names", requires_source=False)
    Registry.instances.remove(registry)
    registry.add(small)
    return registry


NAME = st.from_regex(r"[a-z_]+", fullmatch=True)


@given(st.lists(NAME, min_size=1, max_size=DEEPEST), st.none() | st.booleans() | st.integers(-(2**62), 2**62))
def test_a_set_is_what_yaml_says_of_the_same_place(parts: list[str], value: object) -> None:
    found = parse_override(f"{'.'.join(parts)}={json.dumps(value)}")
    for part in parts:
        assert list(found) == [part]
        found = found[part]
    assert found == value


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("a.b=1e-3", {"a": {"b": 0.001}}),
        (" a =x=y", {"a": "x=y"}),
        ("a={b: [1, 2]}", {"a": {"b": [1, 2]}}),
        ("a=", {"a": None}),
    ],
)
def test_numbers_set_on_the_command_line(text: str, found: dict) -> None:
    assert parse_override(text) == found


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a.b", "write --set name=value"),
        ("=1", "write --set name=value"),
        ("a=[1", "not YAML"),
        (".".join("a" * (DEEPEST + 1)) + "=1", "no setting lies so deep"),
    ],
)
def test_a_set_that_is_none_is_told(text: str, words: str) -> None:
    with pytest.raises(SettingsError, match=words):
        parse_override(text)


def test_where_ranks_are_started_is_read_without_the_recipe(tmp_path: Path) -> None:
    mine = tmp_path / "mine.yaml"
    mine.write_text("recipe: nobody_has_this\nexecutor: slurm\n")
    assert executor_name(str(mine)) == "slurm"
    mine.write_text("recipe: tiny\n")
    assert [executor_name(name) for name in (str(mine), "tiny", "wiring.py")] == [None] * 3


def test_later_sets_lie_over_earlier_ones_and_both_over_the_file(own: Registry, tmp_path: Path) -> None:
    file = tmp_path / "numbers.yaml"
    file.write_text("recipe: small\nexecutor: ray\ntimes: 2\npart: {text: of the file}\n")
    assert load_recipe(str(file), own).settings == OnlyForTests(times=2, part=PartSettings(text="of the file"))
    recipe = load_recipe(str(file), own, ["times=3", "part.text=b", "times=4"])
    assert recipe.settings == OnlyForTests(times=4, part=PartSettings(text="b"))
    assert (recipe.name, recipe.executor) == ("small", "ray")
    # Where ranks are started is no part of what is made.
    assert recipe.plan().key == small(recipe.settings).key


def test_the_complete_numbers_are_a_file_for_the_same_run(own: Registry, tmp_path: Path) -> None:
    recipe = load_recipe("small", own, ["times=3"])
    file = tmp_path / "all.yaml"
    file.write_text(write_yaml(recipe.to_row()))
    again = load_recipe(str(file), own)
    assert again.settings == recipe.settings
    assert again.plan().key == recipe.plan().key


def test_files_of_plugins_lie_beside_the_recipe_and_are_part_of_its_numbers(own: Registry, tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text("LOADED = True\n")
    file = tmp_path / "numbers.yaml"
    for line in ("plugins: mine.py", "plugins: [mine.py]", f"plugins: [{tmp_path / 'mine.py'}]"):
        file.write_text(f"recipe: small\n{line}\n")
        recipe = load_recipe(str(file), own, plugins=[tmp_path / "mine.py"])
        assert recipe.plugins == (str((tmp_path / "mine.py").resolve()),)  # once
        assert recipe.to_row()["plugins"] == list(recipe.plugins)
    for line, words in (
        ("plugins: 3", "plugins is 3; write a list of files"),
        ("plugins: [3]", r"plugins is \[3\]; write a list of files"),
        ("plugins: [none.py]", "none.py: there is no such file; name a .py file of plug-ins in the line `plugins:`"),
    ):
        file.write_text(f"recipe: small\n{line}\n")
        with pytest.raises(SettingsError, match=words):
            load_recipe(str(file), own)


@pytest.mark.parametrize("count", [0, 2])
def test_a_file_of_ones_own_has_exactly_one_recipe(count: int, tmp_path: Path) -> None:
    file = tmp_path / f"has{count}.py"
    texts = [f"@recipes.add\ndef own_{count}_{number}(s: int): ...\n" for number in range(count)]
    file.write_text("from herd.recipes import recipes\n" + "".join(texts))
    with pytest.raises(SettingsError, match=f"has {count} recipes; mark exactly one function with @recipes.add"):
        load_recipe(str(file), recipes)


@pytest.fixture
def packaged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Registry[RecipeFunction]]:
    """A package with one wiring, its numbers, and presets over it."""
    package = tmp_path / "packaged_for_tests"
    package.mkdir()
    (package / "__init__.py").write_text(
        "from herd.core.registry import Registry\nrecipes = Registry('test recipes', __name__, requires_source=False)\n"
    )
    wiring = OWN.replace("from herd.recipes import", "from packaged_for_tests import").replace("{name}", "wiring")
    (package / "wiring.py").write_text(wiring.replace("own_stage", "packaged_stage"))
    (package / "wiring.yaml").write_text("# Its own.\nsize: 4\n")
    (package / "small-1.yaml").write_text("# A small one.\nrecipe: wiring\nsize: 1\n")
    (package / "smaller.yaml").write_text("# As small.\nrecipe: small-1\n")
    (package / "circle.yaml").write_text("# Round.\nrecipe: round\n")
    (package / "round.yaml").write_text("# Round.\nrecipe: circle\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    registries = list(Registry.instances)
    import packaged_for_tests  # pyright: ignore[reportMissingImports]

    yield packaged_for_tests.recipes
    Registry.instances[:] = registries
    for name in ("packaged_for_tests", "packaged_for_tests.wiring"):
        sys.modules.pop(name, None)
    Stage.registry.pop("packaged_stage", None)


def test_a_preset_lies_over_a_wiring_or_another_preset(packaged: Registry[RecipeFunction], tmp_path: Path) -> None:
    sizes = {name: load_recipe(name, packaged).settings.size for name in ("wiring", "small-1", "smaller")}
    assert sizes == {"wiring": 4, "small-1": 1, "smaller": 1}
    assert load_recipe("smaller", packaged, ["size=9"]).settings.size == 9
    own = tmp_path / "own.yaml"
    own.write_text("recipe: smaller\nsize: 2\n")
    recipe = load_recipe(str(own), packaged)
    assert (recipe.name, recipe.settings.size, recipe.function.__name__) == ("smaller", 2, "wiring")
    assert recipe.to_row() == {"recipe": "wiring", "size": 2}
    assert {name: preset_summary(file) for name, file in packaged_presets(packaged).items()} == {
        "circle": "Round.",
        "round": "Round.",
        "small-1": "A small one.",
        "smaller": "As small.",
    }


def test_presets_that_name_each_other_and_unknown_ones_are_refused(packaged: Registry[RecipeFunction]) -> None:
    with pytest.raises(SettingsError, match="circle -> round -> circle"):
        load_recipe("circle", packaged)
    with pytest.raises(SettingsError, match="did you mean 'smaller'"):
        load_recipe("smallr", packaged)


def test_all_packaged_presets_plan_and_their_numbers_are_whole() -> None:
    """Those that want a user's own files say so; what else is wrong with their numbers is found before."""
    for name in packaged_presets(recipes):
        try:
            recipe = load_recipe(name, recipes)
        except SettingsError as fault:
            assert "is not said; write a YAML file" in str(fault), fault  # noqa: PT017 - not all raise
            continue
        assert recipe.to_row()["recipe"] in recipes.all()
