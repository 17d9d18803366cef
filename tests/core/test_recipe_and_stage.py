"""Recipes are found and filled in; stages refuse what they cannot take."""

from __future__ import annotations

from pathlib import Path

import pytest

from herd.core.artifacts import Checkpoint, Tokens
from herd.core.errors import HerdError, SettingsError, as_sentence, did_you_mean
from herd.core.lineage import lineage, tree
from herd.core.progress import Plain, clock, seconds_left
from herd.core.recipe import load_recipe
from herd.core.runner import run
from herd.core.stage import walk
from herd.recipes import recipes
from tests.core.stages_for_tests import join, write

OWN = '''
from herd.core.artifacts import Corpus
from herd.core.settings import Positive, settings
from herd.core.stage import Work, stage
from herd.recipes import recipes

@settings
class OwnSettings:
    size: Positive = 3

@stage(paper="-", version=1)
def own_stage(work: Work, *, size: Positive) -> Corpus:
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
    made = run(recipe.plan(), tmp_path / "run", jobs=jobs)
    assert (made.path / "text").read_text() == "xxxxx"
    numbers = tmp_path / "numbers.yaml"
    numbers.write_text(f"recipe: mine{jobs}.py\nsize: 7\n")
    assert load_recipe(str(numbers), recipes).settings.size == 7


def test_inputs_must_be_artifacts_and_settings_must_be_known() -> None:
    with pytest.raises(SettingsError, match="parts must be an artifact"):
        join("text")  # type: ignore[arg-type]
    with pytest.raises(SettingsError, match="parts must be an artifact"):
        join()  # type: ignore[call-arg]
    with pytest.raises(SettingsError, match="unexpected keyword argument 'tims'; did you mean 'times'"):
        join((write(text="a"),), tims=2)  # type: ignore[call-arg]


def test_plans_come_after_what_they_wait_for() -> None:
    a, b = write(text="a"), write(text="b")
    order = [plan.key for plan in walk(join((join((a, b)), a)))]  # type: ignore[arg-type]
    assert len(order) == len(set(order)) == 4
    assert order.index(a.key) < order.index(order[-1])


def test_lineage_is_read_back_from_disk(tmp_path: Path) -> None:
    made = run(join((write(text="a"), write(text="b"))), tmp_path)
    assert [one.card["stage"] for one in lineage(made)] == ["write", "write", "join"]
    assert [(branch.depth, branch.name) for branch in tree(made)] == [(0, ""), (1, "parts"), (1, "parts")]


def test_planned_types_are_those_of_the_signature() -> None:
    assert type(join((write(text="a"),))) is Tokens
    assert not issubclass(Checkpoint, Tokens)


def test_near_names_are_guessed_and_far_ones_listed() -> None:
    assert did_you_mean("peek", ["peak", "other"]) == "; did you mean 'peak'?"
    assert did_you_mean("xyz", ["peak", "other"]) == "; valid: other, peak"
    assert did_you_mean("xyz", []) == ""


def test_unforeseen_faults_keep_their_words() -> None:
    assert str(as_sentence(KeyError("x"), "stage a")).startswith("stage a: KeyError: 'x'")
    assert "out of memory" in str(as_sentence(MemoryError(), "stage a"))
    known = HerdError("told")
    assert as_sentence(known, "stage a") is known


@pytest.mark.parametrize(("seconds", "text"), [(None, "-:--"), (0, "0:00"), (65, "1:05"), (3665, "1:01:05")])
def test_clock(seconds: float | None, text: str) -> None:
    assert clock(seconds) == text


def test_time_left_follows_the_pace() -> None:
    assert seconds_left(10, 0, 5) is None
    assert seconds_left(10, 2, 10) == 40


def test_plain_progress_is_lines(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    run(join((write(text="a"),)), tmp_path, display=Plain())
    out = capsys.readouterr().out.splitlines()
    assert out[0].endswith(": started")
    assert out[-1].startswith("[2/2] join-")
