"""The training loop: the same bits on one thread or two, killed or not; faults told early."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest
import torch

from herd.core.errors import TrainingError
from herd.core.stage import RunOptions, Work
from herd.model.transformer import Transformer, initialize
from herd.run.executors import LocalExecutor
from herd.train.batches import TokenBatches
from herd.train.checkpoint import TrainState, checkpoints, restore, save
from herd.train.log import read_steps
from herd.train.loop import METRICS_FILE, Step, single_device, train, train_steps
from herd.train.objectives import next_token_loss
from herd.train.optimizer import AdamWSettings, adamw
from herd.train.schedule import BatchPhase, BatchRamp, MixPhase, warmup_cosine
from tests.model.test_transformer import SMALL
from tests.train.test_batches import shards

RATE = partial(warmup_cosine, peak=1e-2, warmup=3, total=30, floor=0.1)


def state(seed: int = 0) -> TrainState:
    model = Transformer(SMALL)
    initialize(model, std=0.1, layers=SMALL.n_layers, generator=torch.Generator().manual_seed(seed))
    return TrainState(model, adamw(model, AdamWSettings()))


@pytest.fixture
def batches(tmp_path: Path) -> TokenBatches:
    found = shards(tmp_path, {"a": [20, 33, 47, 80]})
    ramp = BatchRamp((BatchPhase(until=1.0, batch_tokens=64),), 64 * 30, 16)
    return TokenBatches(found, (MixPhase(until=1.0, mixture_weights={"a": 1.0}),), ramp, seed=0, pad=0)


def weights(made: TrainState) -> list[torch.Tensor]:
    return [weight.detach().clone() for weight in made.model.parameters()]


def same(a: TrainState, b: TrainState) -> bool:
    return all(torch.equal(x, y) for x, y in zip(weights(a), weights(b), strict=True))


def run(made: TrainState, batches: TokenBatches, workers: int = 1) -> list[Step]:
    hands = single_device(made, LocalExecutor(lambda: workers))
    return list(
        train_steps(made, batches, loss_fn=next_token_loss, lr_schedule=RATE, max_grad_norm=1.0, strategy=hands)
    )


def test_training_learns(batches: TokenBatches) -> None:
    losses = [step.loss for step in run(state(), batches)]
    assert losses[-1] < losses[0] - 0.5


@pytest.mark.row(34, "resume")
@pytest.mark.parametrize("killed_at", [1, 7, 29])
def test_a_killed_run_ends_with_the_same_bits(killed_at: int, batches: TokenBatches, tmp_path: Path, figure) -> None:
    whole, first, second = state(), state(), state(seed=9)
    run(whole, batches)
    for step in train_steps(
        first,
        batches,
        loss_fn=next_token_loss,
        lr_schedule=RATE,
        max_grad_norm=1.0,
        strategy=single_device(first, LocalExecutor()),
    ):
        if step.number == killed_at:
            save(tmp_path / "scratch", first)
            break
    assert restore(tmp_path / "scratch", second)
    run(second, batches)
    figure(f"killed at step {killed_at}: the same bits")
    assert same(whole, second)


def test_the_log_is_cut_back_to_the_checkpoint(batches: TokenBatches, tmp_path: Path) -> None:
    scratch, out = tmp_path / "scratch", tmp_path / "out"
    scratch.mkdir()
    out.mkdir()
    work = Work(out, scratch, LocalExecutor())
    whole = train(work, state(), batches, loss_fn=next_token_loss, lr_schedule=RATE, max_grad_norm=1.0)
    assert [step.number for step in read_steps(out / METRICS_FILE)] == list(range(1, 31))
    # A crash after step 30 was logged, with a checkpoint of step 10.
    early = state()
    for step in train_steps(
        early,
        batches,
        loss_fn=next_token_loss,
        lr_schedule=RATE,
        max_grad_norm=1.0,
        strategy=single_device(early, LocalExecutor()),
    ):
        if step.number == 10:
            save(scratch, early)
            break
    again = train(work, state(seed=5), batches, loss_fn=next_token_loss, lr_schedule=RATE, max_grad_norm=1.0)
    assert [step.number for step in again] == list(range(1, 31))
    assert [step.loss for step in again] == [step.loss for step in whole]


@pytest.mark.parametrize("damage", ["flip", "cut", "lost"])
def test_a_log_that_is_not_what_was_written_gives_way_to_an_earlier_checkpoint(
    damage: str, batches: TokenBatches, tmp_path: Path
) -> None:
    for name in ("whole", "scratch", "out"):
        (tmp_path / name).mkdir()
    plain = partial(train, batches=batches, loss_fn=next_token_loss, lr_schedule=RATE, max_grad_norm=1.0)
    whole = plain(Work(tmp_path / "out", tmp_path / "whole", LocalExecutor()), state())

    def stop_at_12(done: float, total: float, words: str) -> None:
        if done == 12:
            raise KeyboardInterrupt

    # A checkpoint after every step.
    work = Work(
        tmp_path / "out", tmp_path / "scratch", LocalExecutor(), stop_at_12, options=RunOptions(save_every_seconds=-1)
    )
    with pytest.raises(KeyboardInterrupt):
        plain(work, state())
    log = tmp_path / "scratch" / METRICS_FILE
    lines = log.read_bytes().splitlines(keepends=True)
    if damage == "lost":
        log.unlink()
    elif damage == "cut":
        log.write_bytes(b"".join(lines[:10]) + lines[10][:-5])
    else:  # another digit of the loss of step 11
        at = lines[10].index(b'"loss": ') + len(b'"loss": ')
        lines[10] = lines[10][:at] + bytes([lines[10][at] ^ 1]) + lines[10][at + 1 :]
        log.write_bytes(b"".join(lines))
    going = state(seed=3)
    assert restore(tmp_path / "scratch", going) == (damage != "lost")
    assert going.step == (0 if damage == "lost" else 10)
    again = plain(Work(tmp_path / "out", tmp_path / "scratch", LocalExecutor()), state())
    assert [step.number for step in again] == list(range(1, 31))
    assert [step.loss for step in again] == [step.loss for step in whole]


def test_training_may_end_before_its_batches_do(batches: TokenBatches, tmp_path: Path) -> None:
    work = Work(tmp_path, tmp_path, LocalExecutor())
    found = train(
        work,
        state(),
        batches,
        loss_fn=next_token_loss,
        lr_schedule=RATE,
        max_grad_norm=1.0,
        stop_when=lambda step: step.number == 4,
    )
    assert len(found) == 4


def test_whether_to_end_is_asked_before_a_step_is_saved(batches: TokenBatches, tmp_path: Path) -> None:
    """Otherwise a run killed between the two would train on past its end."""
    asked: list[tuple[int, int]] = []

    def enough(step: Step) -> bool:
        newest = checkpoints(tmp_path)
        asked.append((step.number, int(newest[-1].name.removeprefix("step-")) if newest else 0))
        return step.number == 6

    work = Work(tmp_path, tmp_path, LocalExecutor(), options=RunOptions(save_every_seconds=0.0))
    train(work, state(), batches, loss_fn=next_token_loss, lr_schedule=RATE, max_grad_norm=1.0, stop_when=enough)
    assert [number for number, _ in asked] == list(range(1, 7))
    # Writing goes on beside training, so the newest may lag behind, but it is never the step asked about.
    assert all(newest < number for number, newest in asked)
    assert checkpoints(tmp_path)[-1].name == "step-000000005"


def test_a_loss_that_is_no_number_stops_training(batches: TokenBatches) -> None:
    made = state()
    with torch.no_grad():
        made.model.norm.weight.fill_(float("nan"))
    with pytest.raises(TrainingError, match="try a lower lr"):
        run(made, batches)


@pytest.mark.parametrize(
    ("micro_batch", "mend"),
    [(None, "micro_batch to 1, or"), (4, "micro_batch to 2, or"), (1, "recompute to true")],
)
def test_out_of_memory_says_which_number_to_change(batches: TokenBatches, micro_batch: int | None, mend: str) -> None:
    made = state()

    def hungry(model: object, batch: object) -> tuple[torch.Tensor, dict[str, float]]:
        return torch.empty(2**60), {}

    going = train_steps(
        made,
        batches,
        loss_fn=hungry,
        lr_schedule=RATE,
        max_grad_norm=1.0,
        strategy=single_device(made, LocalExecutor()),
        micro_batch=micro_batch,
    )
    with pytest.raises(TrainingError, match=f"step 1: out of memory; set {mend}"):
        next(going)
