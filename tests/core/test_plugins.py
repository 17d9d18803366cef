"""Plug-ins in a user's own files: found by name, known in every process, part of a stage's code, refused in words."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from herd.cli import main
from herd.core import plugins
from herd.core.artifacts import Artifact
from herd.core.errors import SettingsError
from herd.core.plugins import load_plugins, module_name, user_file_of
from herd.core.recipe import load_recipe
from herd.core.registry import Registry
from herd.core.stage import Stage, plan_of
from herd.judge.verifiers import verifiers
from herd.recipes import recipes
from herd.run.executors import LocalExecutor
from herd.run.progress import SilentDisplay
from herd.run.runner import run_stages

PLUGIN = '''
from herd.judge.verifiers import verifiers

@verifiers.add
def starts_alike(prompt, answer, known, *, letters: int = 1):
    """Whether both start with the same letters.

    Source: ours.
    """
    return answer.content[:letters] == known.content[:letters]

def doubled(number):
    return 2 * number
'''
RECIPE = '''
from typing import Annotated

from herd.core.artifacts import Corpus
from herd.core.records import Message
from herd.core.registry import PluginConfig
from herd.core.settings import PositiveInt, settings
from herd.core.stage import Work, stage
from herd.judge.verifiers import verifiers
from herd.recipes import recipes

@settings
class CheckSettings:
    verify: Annotated[PluginConfig, verifiers.choice] = verifiers.configure("exact_match")
    ranks: PositiveInt = 1

def _ranks(settings: CheckSettings) -> int:
    return settings.ranks

@stage(paper="-", version=1, ranks=_ranks)
def check_two_words(work: Work, *, settings: CheckSettings) -> Corpus:
    """What the verifier says."""
    right = verifiers.make(settings.verify)(None, Message("assistant", "abc"), Message("assistant", "abd"))
    (work.out / "text").write_text(str(right))
    return Corpus(work.out)

@recipes.add
def checked(s: CheckSettings) -> Corpus:
    """Two words, compared."""
    return check_two_words(settings=s)
'''


@pytest.fixture(autouse=True)
def forgotten(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """What a test registers is forgotten after it."""
    monkeypatch.setattr(plugins, "_loaded", {})
    yield
    for registry in Registry.instances:
        for name in [name for name, one in registry._plugins.items() if one.__module__.startswith("herd_file_")]:
            del registry._plugins[name]
    for name in [name for name, one in Stage.registry.items() if one.body.__module__.startswith("herd_file_")]:
        del Stage.registry[name]
    for name in [name for name in sys.modules if name.startswith("herd_file_")]:
        del sys.modules[name]


@pytest.fixture
def mine(tmp_path: Path) -> Path:
    """A folder with a recipe, and a YAML of its numbers that loads a plug-in from another folder beside it."""
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "words.py").write_text(PLUGIN)
    (tmp_path / "wiring.py").write_text(RECIPE)
    numbers = tmp_path / "mine.yaml"
    numbers.write_text("recipe: wiring.py\nplugins: [own/words.py]\nverify: {starts_alike: {letters: 2}}\n")
    return numbers


def text_of(made: Artifact) -> str:
    return (made.path / "text").read_text()


@pytest.mark.parametrize(("jobs", "ranks"), [(0, 1), (1, 1), (0, 2)], ids=["here", "worker", "ranks"])
def test_a_recipes_plugin_is_known_where_its_stage_runs(jobs: int, ranks: int, mine: Path, tmp_path: Path) -> None:
    made = run_stages(load_recipe(str(mine), recipes, [f"ranks={ranks}"]).plan(), tmp_path / "run", jobs=jobs)
    assert text_of(made) == "True"
    assert made.metadata["settings"]["settings"]["verify"] == {"starts_alike": {"letters": 2}}


def test_processes_of_a_pool_know_it_too(mine: Path) -> None:
    load_plugins([mine.parent / "own" / "words.py"], "a test")
    doubled = sys.modules[module_name((mine.parent / "own" / "words.py").resolve())].doubled
    assert list(LocalExecutor(lambda: 2).map(doubled, [1, 2, 3])) == [2, 4, 6]


class Warned(SilentDisplay):
    def __init__(self) -> None:
        self.words: list[str] = []

    def warn(self, text: str) -> None:
        self.words.append(text)


def test_an_edited_plugin_counts_as_code_of_the_stages_that_use_it(mine: Path, tmp_path: Path) -> None:
    plugin, shown = mine.parent / "own" / "words.py", Warned()
    by_mine = load_recipe(str(mine), recipes).plan()
    by_exact = load_recipe(str(mine), recipes, ["verify=exact_match"]).plan()
    for target in (by_mine, by_exact):
        run_stages(target, tmp_path / "run", jobs=0, display=shown)
        run_stages(target, tmp_path / "run", jobs=0, display=shown)
    assert not shown.words
    plugin.write_text(f"# A comment.\n{PLUGIN}")
    run_stages(by_mine, tmp_path / "run", jobs=0, display=shown)
    assert not shown.words
    plugin.write_text(PLUGIN.replace("answer.content[:letters] ==", "answer.content[-letters:] =="))
    run_stages(by_exact, tmp_path / "run", jobs=0, display=shown)
    assert not shown.words
    run_stages(by_mine, tmp_path / "run", jobs=0, display=shown)
    assert "the code of stage check_two_words changed" in shown.words[0]
    assert plan_of(by_mine).key == plan_of(load_recipe(str(mine), recipes).plan()).key


def test_what_a_recipes_own_file_registers_is_known_to_workers_too(tmp_path: Path) -> None:
    (tmp_path / "both.py").write_text(f"{PLUGIN}\n{RECIPE}")
    target, shown = load_recipe(str(tmp_path / "both.py"), recipes, ["verify=starts_alike"]).plan(), Warned()
    assert text_of(run_stages(target, tmp_path / "run", jobs=1)) == "True"
    run_stages(target, tmp_path / "run", jobs=0, display=shown)
    assert not shown.words


def test_the_same_numbers_are_printed_and_read_again(mine: Path, capsys: pytest.CaptureFixture[str]) -> None:
    recipe = load_recipe(str(mine), recipes)
    assert recipe.plugins == (str(mine.parent.resolve() / "own" / "words.py"),)
    assert recipe.to_row()["plugins"] == list(recipe.plugins)
    named = load_recipe(
        str(mine.parent / "wiring.py"), recipes, ["verify={starts_alike: {letters: 2}}"], recipe.plugins
    )
    assert plan_of(named.plan()).key == plan_of(recipe.plan()).key
    assert named.plugins == recipe.plugins


def test_a_file_beside_the_wiring_may_name_plugins_and_a_place(mine: Path) -> None:
    mine.with_name("wiring.yaml").write_text(f"{mine.read_text()}executor: slurm\n")
    by_name = load_recipe(str(mine.with_name("wiring.yaml")), recipes)
    by_file = load_recipe(str(mine.with_name("wiring.py")), recipes)
    assert by_name.executor == "slurm"
    assert by_name.settings == by_file.settings
    assert len(by_name.plugins) == len(by_file.plugins) == 1


def test_lists_say_which_file_it_comes_from(mine: Path, capsys: pytest.CaptureFixture[str]) -> None:
    plugin = mine.parent / "own" / "words.py"
    assert main(["list", "verifiers", "--plugins", str(plugin)]) == 0
    lines = {line.split()[0]: line for line in capsys.readouterr().out.splitlines()}
    assert lines["starts_alike"].endswith(f"Whether both start with the same letters. ({plugin.resolve()})")
    assert "(" not in lines["numeric_match"]
    assert user_file_of(verifiers.get("exact_match")) is None


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (None, "{file}: there is no such file; name a .py file of plug-ins in --plugins"),
        ("def f(:\n", "{file}, line 1: invalid syntax; mend the file"),
        ("\n\nimport no_such_module\n", "{file}, line 3: ModuleNotFoundError: No module named 'no_such_module'; mend"),
        ("\nnumber = 1 / 0\n", "{file}, line 2: ZeroDivisionError: division by zero; mend the file"),
        (PLUGIN.replace("starts_alike", "exact_match"), "two verifiers are called 'exact_match' ("),
        (PLUGIN + PLUGIN.replace("letters: int = 1", "letters: int = 2"), "two verifiers are called 'starts_alike' ("),
        (PLUGIN.replace("Source: ours.", ""), "{file}, line 4: 'starts_alike' of the verifiers names no source; add a"),
        (RECIPE + RECIPE.replace("check_two_words", "check_two"), "two recipes are called 'checked' ("),
    ],
)
def test_a_file_that_cannot_be_is_refused_in_one_sentence(
    text: str | None, words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path.resolve() / "broken.py"
    if text is not None:
        file.write_text(text)
    assert main(["list", "verifiers", "--plugins", str(file)]) == 2
    told = capsys.readouterr().err
    assert words.replace("{file}", str(file)) in told
    assert told.count("\n") == 1
    if "two" in words:
        assert f"{file}, line" in told


def test_a_name_that_is_no_list_of_files_is_refused(mine: Path) -> None:
    mine.write_text("recipe: wiring.py\nplugins: {own: words.py}\n")
    with pytest.raises(SettingsError, match="write a list of files"):
        load_recipe(str(mine), recipes)
    mine.write_text("recipe: wiring.py\nplugins: own/missing.py\n")
    with pytest.raises(SettingsError, match=r"own/missing.py: there is no such file; .* in the line `plugins:` of"):
        load_recipe(str(mine), recipes)
