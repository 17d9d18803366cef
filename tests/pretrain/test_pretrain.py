"""Initial pre-training: what its settings refuse, and what a card says was read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from herd.core.artifacts import ArtifactMetadata, Tokens, write_metadata
from herd.core.errors import DataError, SettingsError
from herd.core.settings import dump_arguments
from herd.pretrain.anneal import AnnealSettings, anneal
from herd.pretrain.pretrain import PretrainSettings, last_loss, pretrain, sources_read, token_batches
from herd.tokens.stages import pack
from herd.train.log import METRICS_FILE, Step, read_steps
from herd.train.results import CheckpointAverage, HeldOutLoss, TrainingResult
from herd.train.schedule import BatchPhase, BatchRamp, MixPhase, warmup_cosine
from tests.imported import corpus, imported, work
from tests.train.test_batches import shards

MIX = (MixPhase(until=1.0, mixture_weights={"a": 0.5, "b": 0.5}),)


def ramp(batch_tokens: int = 64, tokens: int = 640) -> BatchRamp:
    return BatchRamp((BatchPhase(until=1.0, batch_tokens=batch_tokens),), tokens, 16)


def small(**changes: Any) -> PretrainSettings:
    row: dict[str, Any] = {"length": 16, "tokens": 640, "batch": ramp().phases, "mix": MIX, "lr": 1e-3}
    return PretrainSettings(**{**row, **changes})


@pytest.mark.parametrize("what", ["batch", "mix"])
def test_phases_that_do_not_end_with_the_run_are_refused_by_name(what: str) -> None:
    small()
    half = {
        "batch": (BatchPhase(until=0.5, batch_tokens=64),),
        "mix": (MixPhase(until=0.5, mixture_weights={"a": 1.0}),),
    }
    with pytest.raises(SettingsError, match=f"{what}: `until` must rise and end at 1.0"):
        small(**{what: half[what]})


def test_less_text_than_a_batch_is_told_with_the_batch_that_it_fills(tmp_path: Path) -> None:
    found = shards(tmp_path, {"a": [20], "b": [30]})
    assert len(token_batches(found, MIX, ramp(batch_tokens=48), seed=0)) > 0
    there = sum(found.index["sources"][name]["train"]["tokens"] for name in "ab")
    with pytest.raises(DataError, match=f"holds {there} tokens, less than one batch of 640; .* at most {there}"):
        token_batches(found, MIX, ramp(batch_tokens=640), seed=0)


def test_a_card_says_what_was_trained_on_and_from_how_many_rows(tmp_path: Path) -> None:
    batches = token_batches(shards(tmp_path, {"a": [17] * 30, "b": [17] * 30}), MIX, ramp(), seed=0)
    metrics = {"tokens/a": 32.0, "tokens/b": 32.0}
    steps = [Step(n, 1.0, 1.0, 1e-3, 1.0, 64.0, metrics, "spike" if n == 2 else "") for n in (1, 2, 3)]
    found = sources_read(batches, steps)
    for row in found.values():
        assert (row.tokens, row.share) == (64, 0.5)  # of two of three steps
        assert row.rows == 6  # all three were read
    assert sources_read(batches, [])["a"].share == 0.0


def test_rows_longer_than_the_run_s_and_a_schedule_that_ends_early_are_refused() -> None:
    long = (BatchPhase(until=1.0, batch_tokens=64, length=32),)
    with pytest.raises(SettingsError, match=r"batch\.0\.length is 32 and length, the most a row has, 16"):
        small(batch=long)
    with pytest.raises(SettingsError, match="schedule_steps is 9 and the run takes 10 steps"):
        small(schedule_steps=9)


def test_settings_that_came_later_leave_keys_alone() -> None:
    dumped = dump_arguments(pretrain.body, {"settings": small()})["settings"]
    assert "schedule_steps" not in dumped
    assert dumped["batch"] == [{"until": 1.0, "batch_tokens": 64}]
    assert dump_arguments(pretrain.body, {"settings": small(schedule_steps=20)})["settings"]["schedule_steps"] == 20


@pytest.mark.parametrize("share", [0.0, 0.001])
def test_with_nothing_held_out_training_ends_with_its_own_loss_and_says_so(
    share: float, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    start = imported(tmp_path / "model")
    tokens = Tokens(tmp_path / "packed" / "out")
    pack.body(work(tmp_path / "packed"), corpus(tmp_path / "corpus"), start, held_out_share=share)
    assert ("no held-out loss at all" in capsys.readouterr().out) == (share > 0)
    done = work(tmp_path / "made")
    batch = (BatchPhase(until=1.0, batch_tokens=64),)
    made = pretrain.body(done, tokens, start, settings=PretrainSettings(length=16, tokens=1024, batch=batch, lr=1e-3))
    losses = [step.loss for step in read_steps(made.path / METRICS_FILE)]
    assert done.results[TrainingResult].loss == pytest.approx(sum(losses[-10:]) / 10)
    assert done.results[TrainingResult].held_out == {}
    assert "nothing is held out of text, so no loss was measured" in capsys.readouterr().out
    assert "in training, nothing held out" in done.headline
    write_metadata(made.path, ArtifactMetadata("Checkpoint", "made", "pretrain", 1, "-", "-", {}, {}))
    ending = work(tmp_path / "annealed")
    anneal.body(ending, made, tokens, settings=AnnealSettings(tokens=512, length=16, batch_tokens=64, lr=1e-3))
    assert ending.results[CheckpointAverage].losses == ()
    assert "in training, nothing held out" in ending.headline


def test_skipped_steps_are_no_part_of_the_last_loss(tmp_path: Path) -> None:
    steps = [Step(n, float(n), 1.0, 1e-3, 1.0, 64.0, {}, "spike" if n == 20 else "") for n in range(1, 21)]
    assert last_loss(work(tmp_path), {}, {"a": 1.0}, steps)[0] == sum(range(10, 20)) / 10
    measured = {"a": HeldOutLoss(2.0, 1.0, 8)}
    assert last_loss(work(tmp_path / "other"), measured, {"a": 0.5, "b": 0.5}, steps) == (2.0, "")


def test_short_rows_come_first_and_the_rate_falls_as_the_longer_schedule_says(tmp_path: Path) -> None:
    start = imported(tmp_path / "model")
    tokens = Tokens(tmp_path / "packed" / "out")
    pack.body(work(tmp_path / "packed"), corpus(tmp_path / "corpus"), start, held_out_share=0.1)
    settings = PretrainSettings(
        length=32,
        tokens=1024,
        batch=(BatchPhase(until=0.5, batch_tokens=64, length=16), BatchPhase(until=1.0, batch_tokens=128)),
        mix=(MixPhase(until=1.0, mixture_weights={"text": 1.0}),),
        lr=1e-3,
        warmup=0.0,
        schedule_steps=24,
    )
    done = work(tmp_path / "made")
    made = pretrain.body(done, tokens, start, settings=settings)
    steps = read_steps(made.path / METRICS_FILE)
    assert len(steps) == 8 + 4
    assert max(step.loss_denominator for step in steps[:8]) <= 64 < min(step.loss_denominator for step in steps[8:])
    assert steps[-1].lr == pytest.approx(warmup_cosine(11, peak=1e-3, warmup=0, total=24, floor=0.1))
    assert done.results[TrainingResult].tokens == 1024
