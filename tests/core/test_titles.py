"""Names for people: those they gave, else words from the recipe; never two alike, and no part of a key."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from herd.core.artifacts import LABELS_FILE, Artifact, Checkpoint, Corpus, Scores
from herd.core.lineage import lineage
from herd.core.stage import Work, plan_of, stage, walk, with_label
from herd.core.titles import StageCall, artifact_titles, call_titles, plan_titles, with_stage
from herd.run.runner import run_stages
from tests.core.stages_for_tests import join, write


@stage(paper="-", version=1)
def model_for_titles(work: Work, text: Corpus, *, size: int) -> Checkpoint:
    """A model of nothing."""
    return Checkpoint(work.out)


@stage(paper="-", version=1)
def measure_for_titles(work: Work, model: Checkpoint, *, label: str) -> Scores:
    """What is called `label`."""
    return Scores(work.out)


@stage(paper="-", version=1)
def read_for_titles(work: Work, *, source: str) -> Corpus:
    """Text of a source."""
    return Corpus(work.out)


def test_models_are_called_what_they_are_measured_as_and_text_by_its_source() -> None:
    books = read_for_titles(source="books")
    models = [model_for_titles(books, size=size) for size in (1, 2, 3)]
    scores = measure_for_titles(models[1], label="before")
    plans = walk(join((books, *(write(text=key) for key in (models[0].key, models[2].key, scores.key)))))
    plans = [*walk(scores), *(plan_of(models[0]), plan_of(models[2])), *plans[1:]]
    titles = plan_titles(plans)
    assert titles[books.key] == "read_for_titles: books"
    assert titles[models[1].key] == "before (model_for_titles)"
    assert [titles[models[n].key] for n in (0, 2)] == ["model_for_titles 1", "model_for_titles 2"]
    assert titles[scores.key] == "measure_for_titles: before"
    assert titles[plans[-1].key] == "join"  # the only one of its kind
    assert len(set(titles.values())) == len(titles)


def test_a_label_changes_no_key_and_stands_above_what_a_model_is_measured_as() -> None:
    model = model_for_titles(write(text="a"), size=1)
    named = with_label(model, "the small one")
    assert named.key == model.key
    assert isinstance(named, Checkpoint)
    assert plan_titles(walk(measure_for_titles(named, label="x")))[model.key] == "the small one (model_for_titles)"


def test_of_two_equal_plans_the_one_with_a_label_stands_for_both() -> None:
    bare, named = write(text="a"), with_label(write(text="a"), "A")
    for parts in ((bare, named), (named, bare)):
        assert [plan.label for plan in walk(join(parts))] == ["A", ""]


def test_a_run_keeps_labels_beside_its_artifacts_and_a_new_one_makes_nothing_again(tmp_path: Path) -> None:
    first, second = with_label(write(text="a"), "own <text>"), with_label(write(text="b"), "B")
    made = run_stages(join((first, second)), tmp_path, jobs=0)
    assert json.loads((tmp_path / LABELS_FILE).read_text()) == {first.key: "own <text>", second.key: "B"}
    assert artifact_titles(lineage(made))[first.key] == "own <text>"
    before = {path: path.stat().st_mtime_ns for path in tmp_path.glob("artifacts/*/*")}
    other = write(text="c")
    run_stages(join((with_label(first, "mine"), write(text="b"), with_label(other, "C"))), tmp_path, jobs=0)
    assert json.loads((tmp_path / LABELS_FILE).read_text()) == {first.key: "mine", other.key: "C"}
    assert {path: path.stat().st_mtime_ns for path in before} == before
    assert Artifact.open(tmp_path / "artifacts" / first.key).label == "mine"


@pytest.mark.parametrize("text", ["", "{", "[1]", '{"a": 1}', "\xff"])
def test_labels_that_cannot_be_read_are_none_and_stop_no_run(tmp_path: Path, text: str) -> None:
    plan = with_label(write(text="a"), "A")
    made = run_stages(plan, tmp_path, jobs=0)
    (tmp_path / LABELS_FILE).write_bytes(text.encode("latin-1"))
    assert made.label == ""
    assert artifact_titles([made]) == {plan.key: "write"}
    run_stages(plan, tmp_path, jobs=0)
    assert made.label == "A"


def test_a_title_is_one_line_of_a_length_that_fits() -> None:
    calls = [StageCall("a-1", "a", {}, {}, "two\nlines\t of  it"), StageCall("a-2", "a", {}, {"source": "x" * 10_000})]
    titles = call_titles(calls)
    assert titles["a-1"] == "two lines of it"
    assert len(titles["a-2"]) == 80
    assert with_stage("pretrain 3", "pretrain") == "pretrain 3"


LABELS = st.one_of(st.just(""), st.sampled_from(["a", "a 2", "pretrain", "pretrain 1", " ", "\n"]), st.text(max_size=4))


@given(st.lists(st.tuples(st.sampled_from(["pretrain", "sft"]), LABELS, LABELS), max_size=12))
def test_no_two_titles_are_alike_and_none_is_empty(rows: list[tuple[str, str, str]]) -> None:
    calls = [
        StageCall(f"{stage}-{number}", stage, {}, {"label": said} if said else {}, label)
        for number, (stage, said, label) in enumerate(rows)
    ]
    titles = call_titles(calls)
    assert len(set(titles.values())) == len(rows)
    assert all(title.strip() for title in titles.values())
