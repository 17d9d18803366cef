"""Held-out figures by epoch: what is measured, which weights are kept, and that a killed run goes on to the same."""

from __future__ import annotations

import json
import math
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from herd.align.dpo import DpoSettings, dpo
from herd.align.losses import losses
from herd.align.reward import RewardSettings, train_reward
from herd.align.sft import SftSettings, sft
from herd.core.artifacts import Checkpoint, Dialogues, Preferences
from herd.core.stage import RunOptions, Work
from herd.core.storage import write_preferences
from herd.evals.intervals import Interval
from herd.evals.results import SourceFigures, ValidationCurve, ValidationPoint
from herd.evals.validation import VALIDATION_FILE, ExampleFigures, Validation, figures_by_source, validation_words
from herd.model.weights import load_model
from herd.run.executors import LocalExecutor
from herd.run.ranks import RankSupervisor
from herd.train.checkpoint import checkpoints
from herd.train.layout import ParallelLayout
from tests.align.ranks import LORA
from tests.evals.validation_ranks import LAYOUTS, stop_early, write_inputs
from tests.train.test_preferences import preference

EPOCHS = 4


@pytest.fixture(scope="module")
def given_inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model; dialogues that teach one thing, and held-out ones of which half want another; pairs of both."""
    root = tmp_path_factory.mktemp("validation")
    write_inputs(root)
    (root / "held_out_pairs").mkdir()
    write_preferences(root / "held_out_pairs", [replace(preference(n), strength="better") for n in range(20, 26)])
    return root


def work_in(folder: Path, **options: Any) -> Work:
    (folder / "out").mkdir(parents=True)
    (folder / "scratch").mkdir()
    return Work(folder / "out", folder / "scratch", LocalExecutor(), options=RunOptions(**options))


def settings_of(**changes: Any) -> SftSettings:
    own: dict[str, Any] = {"length": 64, "batch_size": 1, "epochs": EPOCHS, "lr": 1e-2, "warmup": 0.0}
    return SftSettings(**(own | changes))


def tune(root: Path, work: Work, settings: SftSettings) -> ValidationCurve:
    held_out = Dialogues(root / "held_out")
    sft.body(work, Checkpoint(root / "base"), (Dialogues(root / "taught"),), None, held_out, settings=settings)
    return work.results[ValidationCurve]


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_model(folder).state_dict()


def test_measuring_changes_no_weight(given_inputs: Path, tmp_path: Path) -> None:
    measured, plain = work_in(tmp_path / "a"), work_in(tmp_path / "b")
    curve = tune(given_inputs, measured, settings_of(eval_steps=1))
    base, taught = Checkpoint(given_inputs / "base"), (Dialogues(given_inputs / "taught"),)
    sft.body(plain, base, taught, settings=settings_of())
    one, other = weights(measured.out), weights(plain.out)
    assert all(torch.equal(one[name], other[name]) for name in one)
    assert [point.step for point in curve.points] == list(range(curve.points[-1].step + 1))
    assert curve.kept == curve.points[-1].step
    assert ValidationCurve not in plain.results


@pytest.mark.parametrize(
    ("ends", "measured"),
    [
        (range(1, 6), [1, 2, 3, 4, 5]),
        (range(1, 101), list(range(1, 101))),
        (range(1, 1001), list(range(10, 1001, 10))),
        (range(7, 7 * 151, 7), None),
    ],
)
def test_of_many_epochs_a_hundred_are_measured_the_last_among_them(
    tmp_path: Path, ends: range, measured: list[int] | None
) -> None:
    """A set smaller than a batch ends an epoch with every step."""

    class Passes:
        epoch_ends = tuple(ends)

        def epoch_of(self, step: int) -> float:
            return float(step)

    def steps(eval_steps: int | None) -> list[int]:
        asked = settings_of(eval_steps=eval_steps)
        session: Any = None
        folder = tmp_path / f"{eval_steps}"
        return sorted(Validation(work_in(folder), session, Passes(), lambda model: {}, asked)._steps)

    found = steps(None)
    assert found == measured or (measured is None and len(found) == 100)
    assert found[-1] == ends[-1]
    assert set(found) <= set(ends)
    assert set(steps(1)) == set(range(1, ends[-1] + 1))


def test_early_stop_keeps_the_best_epoch_of_a_set_that_overfits(given_inputs: Path, tmp_path: Path) -> None:
    """The weights kept are those that training had when the loss was lowest, not those at its end."""
    work = work_in(tmp_path / "early")
    curve = tune(given_inputs, work, settings_of(epochs=8, eval_steps=1, early_stop=True, patience=2))
    losses_by_step = {point.step: point.figures["loss"].value for point in curve.points}
    assert curve.stopped_early
    assert curve.kept == curve.best == min(list(losses_by_step)[1:], key=losses_by_step.__getitem__)
    assert curve.points[-1].step == curve.best + 2
    at_best = work_in(tmp_path / "short")
    constant = {"schedule": "constant", "epochs": 8, "eval_steps": 1}
    same_rate = tune(given_inputs, work_in(tmp_path / "constant"), settings_of(**constant, early_stop=True))
    sft.body(
        at_best,
        Checkpoint(given_inputs / "base"),
        (Dialogues(given_inputs / "taught"),),
        settings=settings_of(schedule="constant", steps=same_rate.kept),
    )
    one, other = weights(tmp_path / "constant" / "out"), weights(at_best.out)
    assert all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.parametrize("lora", [None, LORA], ids=["full", "adapters"])
def test_a_killed_run_goes_on_to_the_same_curve_and_bits(given_inputs: Path, tmp_path: Path, lora: Any) -> None:
    settings = settings_of(epochs=6, eval_steps=1, early_stop=True, patience=3, lora=lora)
    whole = work_in(tmp_path / "whole")
    wanted = tune(given_inputs, whole, settings)
    killed = work_in(tmp_path / "killed", save_every_seconds=0.0)
    stop_at = wanted.kept + 1

    def progress(done: float, total: float, words: str) -> None:
        if done == stop_at:
            raise KeyboardInterrupt  # as if the process were gone: nothing more is saved

    killed.report = progress
    with pytest.raises(KeyboardInterrupt):
        tune(given_inputs, killed, settings)
    lines = (killed.scratch / VALIDATION_FILE).read_text().splitlines()
    assert len(lines) == stop_at  # before training too, and not yet at the step of the death
    again = Work(killed.out, killed.scratch, LocalExecutor())
    assert checkpoints(killed.scratch)
    assert tune(given_inputs, again, settings) == wanted
    one, other = weights(whole.out), weights(killed.out)
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_a_run_that_lost_its_checkpoints_begins_anew_and_forgets_what_was_measured(
    given_inputs: Path, tmp_path: Path
) -> None:
    settings = settings_of(eval_steps=1, early_stop=True, patience=9)
    first = work_in(tmp_path / "first")
    wanted = tune(given_inputs, first, settings)
    again = Work(tmp_path / "again", first.scratch, LocalExecutor())
    again.out.mkdir()
    assert tune(given_inputs, again, settings) == wanted


def test_pairs_and_rankings_are_measured_before_training_and_by_epoch(given_inputs: Path, tmp_path: Path) -> None:
    base, ranked = Checkpoint(given_inputs / "base"), (Preferences(given_inputs / "ranked"),)
    held_out = Preferences(given_inputs / "held_out_pairs")
    for name in ("dpo", "kto", "simpo"):
        work = work_in(tmp_path / name)
        settings = DpoSettings(loss=losses.configure(name), batch_size=8, epochs=2, lr=1e-3)
        dpo.body(work, base, ranked, held_out, settings=settings)
        curve = work.results[ValidationCurve]
        assert [point.epoch for point in curve.points] == [0.0, 1.0, 2.0]
        both = {"rewards/chosen", "rewards/rejected", "logps/chosen", "logps/rejected"}
        assert {"loss", "accuracy", "margin", "nll", *both} == set(curve.changes)
        beta = settings.loss.settings["beta"]
        chosen, rejected = (curve.changes[f"rewards/{side}"].value for side in ("chosen", "rejected"))
        assert chosen == pytest.approx(beta * curve.changes["logps/chosen"].value, rel=1e-4)
        assert chosen - rejected == pytest.approx(beta * curve.changes["margin"].value, rel=1e-4)
        assert curve.points[0].figures["margin"] == Interval(0, 0, 0)
        assert curve.points[0].figures["accuracy"].value == 0.5
        assert curve.examples == 6
        assert "held-out loss" in work.headline
    work = work_in(tmp_path / "reward")
    train_reward.body(
        work, base, ranked, held_out, settings=RewardSettings(batch_size=8, epochs=2, lr=1e-3, eval_by_epoch=True)
    )
    curve = work.results[ValidationCurve]
    assert curve.points[0].figures["loss"].value == pytest.approx(0.6931, abs=1e-3)  # a head of zeros knows nothing
    assert curve.changes["loss"].value < 0


def test_the_loss_of_pairs_is_the_one_that_training_minimises(given_inputs: Path, tmp_path: Path) -> None:
    """Held out are the very pairs of the only step: its loss is what they had before it."""
    base, pairs = Checkpoint(given_inputs / "base"), Preferences(given_inputs / "held_out_pairs")
    for name in ("dpo", "orpo"):
        work = work_in(tmp_path / name)
        settings = DpoSettings(loss=losses.configure(name), batch_size=6, epochs=1, lr=1e-3, nll_weight=0.3)
        dpo.body(work, base, (pairs,), pairs, settings=settings)
        before = work.results[ValidationCurve].points[0].figures["loss"].value
        steps = [line for line in (work.out / "metrics.jsonl").read_text().splitlines() if line]
        assert len(steps) == 1
        assert before == pytest.approx(json.loads(steps[0])["loss"], rel=1e-4)


def test_ranks_of_every_layout_stop_where_one_does_with_its_weights(tmp_path: Path) -> None:
    """They divide examples where each has a part of the batch, and hold the whole model where tensors or layers are
    divided."""
    write_inputs(tmp_path)
    folder, wanted = stop_early(tmp_path, "alone", ParallelLayout())
    assert wanted.kept < wanted.points[-1].step
    command = [sys.executable, "-W", "ignore", "-m", "tests.evals.validation_ranks", str(tmp_path)]
    RankSupervisor(command, 2, tmp_path / "crew").run(lambda *_: None)
    one = weights(folder)
    for name in LAYOUTS:
        rows = [json.loads(line) for line in (tmp_path / f"{name}-scratch" / VALIDATION_FILE).read_text().splitlines()]
        losses_found = [sum(row["figures"]["loss"]["sums"]) / sum(row["figures"]["loss"]["counts"]) for row in rows]
        assert losses_found == pytest.approx([point.figures["loss"].value for point in wanted.points], rel=1e-4)
        other = weights(tmp_path / f"{name}-0")
        assert all(torch.allclose(one[weight], other[weight], atol=2e-4) for weight in one)


def test_ties_are_half_right_of_an_odd_number_of_pairs_too() -> None:
    share = ExampleFigures.of_values([0.5] * 9).interval("accuracy")
    assert share.value == 0.5
    assert 0.1 < share.low < 0.5 < share.high < 0.9


def test_two_examples_have_intervals_that_can_be_and_one_has_none() -> None:
    before, after = ExampleFigures.of_values([1.0, 0.0]), ExampleFigures.of_values([0.0, 1.0])
    change = before.change_to(after, "accuracy")
    assert (change.value, change.low >= -1, change.high <= 1) == (0.0, True, True)
    assert after.interval("loss").low == 0
    assert after.interval("margin").low < 0
    assert before.change_to(after, "loss").low >= -0.5  # from 0.5 a loss falls no further than to 0
    alone = ExampleFigures.of_values([1.3])
    for interval in (alone.interval("loss"), alone.change_to(alone, "loss")):
        assert not interval.is_bounded


@given(st.lists(st.tuples(st.floats(0, 5), st.integers(1, 9)), min_size=2, max_size=20), st.floats(-1, 1))
def test_a_change_that_is_the_same_everywhere_has_no_width(rows: list[tuple[float, int]], change: float) -> None:
    counts = [float(count) for _, count in rows]
    before = ExampleFigures([value * count for (value, _), count in zip(rows, counts, strict=True)], counts)
    after = ExampleFigures([total + change * count for total, count in zip(before.sums, counts, strict=True)], counts)
    moved = before.change_to(after, "margin")
    assert moved.value == pytest.approx(change, abs=1e-9)
    assert moved.high - moved.low == pytest.approx(0, abs=1e-6)


def test_a_headline_says_what_was_kept_and_whether_it_helped() -> None:
    def curve(losses_by_step: list[float], kept: int) -> ValidationCurve:
        points = tuple(
            ValidationPoint(step, float(step), {"loss": Interval(loss, loss - 0.1, loss + 0.1)})
            for step, loss in enumerate(losses_by_step)
        )
        change = losses_by_step[kept] - losses_by_step[0]
        best = min(range(1, len(points)), key=losses_by_step.__getitem__)
        changes = {"loss": Interval(change, change - 0.01, change + 0.01)}
        return ValidationCurve(points, "loss", 5, best, kept, False, changes)

    assert validation_words(curve([2.0, 1.5, 1.6], 1)).endswith(
        "loss 2.000 to 1.500 (-0.500 [-0.510, -0.490], 5 examples), epoch 1 of 2 kept"
    )
    assert "lowest after epoch 1: early_stop would keep that" in validation_words(curve([2.0, 1.5, 1.6], 2))
    assert validation_words(curve([2.0, 2.1], 1)).endswith("training did not lower it")
    single = curve([2.0, 1.5], 1)
    single = replace(single, examples=1, changes={"loss": Interval(-0.5, -math.inf, math.inf)})
    assert validation_words(single).endswith("loss 2.000 to 1.500 (-0.500, one example, no interval)")


@given(st.lists(st.tuples(st.sampled_from("ab"), st.floats(0, 9), st.floats(0, 9)), min_size=1, max_size=12))
def test_figures_by_source_are_those_of_the_sources_own_examples(rows: list[tuple[str, float, float]]) -> None:
    """The means of sources, weighed by their examples, are the mean of all; nothing is said of a single source."""
    sources, before, after = (list(column) for column in zip(*rows, strict=True))
    first, last = ExampleFigures.of_values(before), ExampleFigures.of_values(after)
    by_source = figures_by_source(sources, {"loss": first}, {"loss": last})
    if len(set(sources)) < 2:
        assert by_source == {}
        return
    assert {name: own.examples for name, own in by_source.items()} == {n: sources.count(n) for n in set(sources)}
    for figures, whole in (("before", first.mean), ("kept", last.mean), ("changes", last.mean - first.mean)):
        weighed = sum(own.examples * getattr(own, figures)["loss"].value for own in by_source.values()) / len(rows)
        assert weighed == pytest.approx(whole, abs=1e-9)


def test_a_headline_names_the_sources_whose_loss_rose() -> None:
    flat, down, up = Interval(1.0, 0.9, 1.1), Interval(-0.3, -0.4, -0.2), Interval(0.2, 0.1, 0.3)
    points = (ValidationPoint(0, 0.0, {"loss": flat}), ValidationPoint(4, 1.0, {"loss": flat}))
    own = {
        name: SourceFigures(5, {"loss": flat}, {"loss": flat}, {"loss": change})
        for name, change in (("a", down), ("b\x1b", up))
    }
    curve = ValidationCurve(points, "loss", 10, 4, 4, False, {"loss": down}, own)
    assert validation_words(curve).endswith("; it rose on b\\x1b +0.200 [+0.100, +0.300]")
    assert "rose" not in validation_words(replace(curve, sources={"a": own["a"]}))
