"""Stages refuse what they cannot take; plans come in order, and their keys hold what decides the result."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from herd.core.artifacts import Artifact, Checkpoint, Corpus, Tokens
from herd.core.errors import ArtifactError, SettingsError, StoppedError
from herd.core.settings import AddedLater, load_arguments, settings
from herd.core.stage import RunOptions, Stage, Work, find_stage, plan_of, stage, walk
from herd.run.executors import LocalExecutor
from tests.core.stages_for_tests import join, write


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


def test_planned_types_are_those_of_the_signature() -> None:
    assert type(join((write(text="a"),))) is Tokens
    assert not issubclass(Checkpoint, Tokens)


def other_version(version: int, monkeypatch: pytest.MonkeyPatch) -> Stage:
    monkeypatch.delitem(Stage.registry, "write")
    return stage(paper="-", version=version)(write.body)


def test_a_key_follows_from_version_settings_and_inputs_however_they_are_said(monkeypatch: pytest.MonkeyPatch) -> None:
    a, b = write(text="a"), write(text="b")
    assert join((a, b), b, times=1).key == join(times=1, extra=b, parts=(a, b)).key == join((a, b), extra=b).key
    assert len({join(parts).key for parts in ((a, b), (b, a), (a,), (a, a))}) == 4  # inputs have an order
    assert join((a,), None).key == join((a,)).key != join((a,), a).key
    name, _, digest = a.key.rpartition("-")
    assert name == "write"
    assert len(digest) == 12
    assert other_version(1, monkeypatch)(text="a").key == a.key
    assert other_version(2, monkeypatch)(text="a").key != a.key


@given(st.text(), st.text())
def test_keys_are_equal_only_for_equal_settings(one: str, other: str) -> None:
    assert (write(text=one).key == write(text=other).key) == (one == other)


def test_two_stages_of_one_name_are_refused() -> None:
    def write(work: Work) -> Corpus:
        """Another."""
        return Corpus(work.out)

    with pytest.raises(SettingsError, match="two stages are called 'write' .*test_stage.*; rename one of them"):
        stage(paper="-", version=1)(write)


def test_an_artifact_from_disk_has_no_plan() -> None:
    with pytest.raises(ArtifactError, match="was opened from disk and has no plan"):
        plan_of(Artifact(Path("artifacts/a-1")))


def test_a_stage_is_found_again_by_its_address(tmp_path: Path) -> None:
    module, file, name = write.address
    assert (module, name) == ("tests.core.stages_for_tests", "write")
    assert file == sys.modules[module].__file__  # outside of herd
    assert find_stage(module, file, name) is write
    mine = tmp_path / "mine.py"
    mine.write_text(
        "from herd.core.artifacts import Corpus\nfrom herd.core.stage import Work, stage\n"
        "@stage(paper='-', version=1)\ndef of_my_own(work: Work) -> Corpus:\n    return Corpus(work.out)\n"
    )
    found = find_stage("a_module_for_tests", str(mine), "of_my_own")
    assert found.address == ("a_module_for_tests", str(mine), "of_my_own")
    from herd.serve.stages import export_model

    assert export_model.address == ("herd.serve.stages", None, "export_model")
    assert find_stage(*export_model.address) is export_model


MANNERS = st.builds(
    RunOptions,
    trackers=st.lists(st.text(st.characters(exclude_categories=["Cs"]))).map(tuple),
    save_every_seconds=st.none() | st.floats(0, 1e6),
    compare_every_steps=st.integers(1),
    profile=st.none() | st.tuples(st.integers(1), st.integers(1)),
    dtype=st.sampled_from(["auto", "fp32", "bf16"]),
    device=st.sampled_from(["auto", "cuda:1"]),
    inference_ranks=st.integers(1, 8),
)


@given(MANNERS)
def test_a_manner_goes_to_another_process_as_text(manner: RunOptions) -> None:
    assert RunOptions.from_json(manner.to_json()) == manner


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"compare_every_steps": 0}, "--compare-every is 0; give 1 step or more"),
        ({"profile": (0, 3)}, "--profile is 0:3"),
        ({"profile": (3, 0)}, "--profile is 3:0"),
        ({"inference_ranks": 0}, "--inference-ranks is 0; give 1 rank or more"),
        ({"dtype": "fp16"}, "--dtype is 'fp16'; there are auto, fp32 and bf16"),
    ],
)
def test_a_manner_that_cannot_be_is_refused(wrong: dict, words: str) -> None:
    with pytest.raises(SettingsError, match=words):
        RunOptions(**wrong)


def test_work_that_is_asked_to_end_ends_where_it_tells_of_progress(tmp_path: Path) -> None:
    said: list[tuple[float, float, str]] = []
    work = Work(tmp_path, tmp_path, LocalExecutor(), report=lambda *words: said.append(words))
    work.progress(2, 3, "letters")
    assert said == [(2, 3, "letters")]
    work.stop_requested = lambda: True
    with pytest.raises(StoppedError, match="the same command makes this stage again"):
        work.progress(3, 3)
    work.saves = True  # it asks by itself, to save first
    work.progress(1, 3)
    assert said[-1] == (1, 3, "")


def test_parts_of_a_stage_tell_how_far_the_stage_is(tmp_path: Path) -> None:
    told: list[tuple[float, float, str]] = []
    work = Work(tmp_path, tmp_path, LocalExecutor(), report=lambda *progress: told.append(progress))
    for part in (0, 1):
        report = work.progress_of_part(part, 2, f"part {part}")
        report(0, 0)
        report(3, 4)
    assert told == [(0, 2, "part 0"), (0.75, 2, "part 0"), (1, 2, "part 1"), (1.75, 2, "part 1")]


@settings
class PartSettings:
    size: int = 1
    later: AddedLater[float | None] = None


@settings
class WholeSettings:
    part: PartSettings = PartSettings()
    parts: tuple[PartSettings, ...] = ()
    by_name: AddedLater[dict[str, PartSettings] | None] = None


def before(work: Work, corpus: Corpus, *, settings: WholeSettings) -> Tokens:
    return Tokens(work.out)


def after(
    work: Work, corpus: Corpus, more: AddedLater[tuple[Corpus, ...]] = (), other: AddedLater[Corpus | None] = None,
    *, settings: WholeSettings, times: AddedLater[int] = 3,
) -> Tokens:  # fmt: skip
    return Tokens(work.out)


def test_what_came_later_changes_no_key_while_it_has_its_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Stage, "registry", dict(Stage.registry))
    monkeypatch.setattr(after, "__name__", "before")
    older = stage(paper="-", version=1)(before)
    Stage.registry.pop("before")
    newer = stage(paper="-", version=1)(after)
    corpus = write(text="a")
    part = PartSettings(size=2)
    same = WholeSettings(parts=(part,), by_name={"a": part})
    assert newer(corpus, settings=same).key == older(corpus, settings=same).key
    assert "later" not in str(plan_of(newer(corpus, settings=same)).settings)
    others = (
        newer(corpus, settings=same, times=4),
        newer(corpus, (corpus,), settings=same),
        newer(corpus, other=corpus, settings=same),
        newer(corpus, settings=WholeSettings(part=PartSettings(later=0.0))),
        newer(corpus, settings=WholeSettings(parts=(PartSettings(later=1.0),))),
        newer(corpus, settings=WholeSettings(by_name={"a": PartSettings(later=1.0)})),
    )
    assert len({older(corpus, settings=same).key, *(artifact.key for artifact in others)}) == 1 + len(others)
    stated = plan_of(others[4])
    assert load_arguments(after, stated.settings)["settings"].parts[0].later == 1.0
