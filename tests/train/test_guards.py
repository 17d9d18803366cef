"""A step that is no good costs that step and nothing else."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from herd.core.errors import StoppedError, TrainingError
from herd.core.stage import RunOptions, Work
from herd.run.executors import LocalExecutor
from herd.train.batches import Batch, TokenBatches
from herd.train.checkpoint import TrainState
from herd.train.guards import GuardSettings, is_outlier
from herd.train.log import METRICS_FILE, read_steps
from herd.train.loop import single_device, train, train_steps
from herd.train.objectives import NextTokenLoss, next_token_loss
from tests.train.test_loop import RATE, batches, state, weights  # noqa: F401 - a fixture


@dataclass(frozen=True)
class Faulty(NextTokenLoss):
    """Not finite on the batches at these steps. seen: the batches given, by their first token."""

    bad: tuple[int, ...] = ()
    at: list[int] | Now = None  # type: ignore[assignment]

    def __call__(self, model, batch):
        found, sums = super().__call__(model, batch)
        return found * float("nan") if self.at[0] in self.bad else found, sums


class Counted:
    """Batches that tell the loss which one it is."""

    def __init__(self, given: TokenBatches, at: list[int]) -> None:
        self.given, self.at, self.order = given, at, []

    def __len__(self) -> int:
        return len(self.given)

    def batch(self, step: int) -> Batch:
        self.at[0] = step
        self.order.append(step)
        return self.given.batch(step)


class Now:
    """The number of the batch at work, where the next one may be asked for already."""

    def __init__(self, made: TrainState) -> None:
        self.made = made

    def __getitem__(self, _: int) -> int:
        return self.made.step + self.made.offset


@pytest.mark.row(38, "faults")
@pytest.mark.parametrize("bad", [(0,), (7,), (3, 4, 5), (29,)])
def test_what_is_not_finite_costs_exactly_its_step(bad: tuple[int, ...], batches: TokenBatches, figure) -> None:  # noqa: F811
    at = [0]
    made = state()
    loss = Faulty(bad=bad, at=at)
    found = list(
        train_steps(
            made,
            Counted(batches, at),
            loss_fn=loss,
            lr_schedule=RATE,
            max_grad_norm=1.0,
            strategy=single_device(made, LocalExecutor()),
        )
    )
    assert [step.number - 1 for step in found if step.skipped] == list(bad)
    assert all(torch.isfinite(weight).all() for weight in weights(made))
    # The same as leaving those batches out, with the rate of the steps that were taken.
    other = state()
    kept = [number for number in range(30) if number not in bad]

    class Left:
        def __len__(self) -> int:
            return len(kept)

        def batch(self, step: int) -> Batch:
            return batches.batch(kept[step])

    list(
        train_steps(
            other,
            Left(),
            loss_fn=next_token_loss,
            lr_schedule=lambda n: RATE(kept[n]),
            max_grad_norm=1.0,
            strategy=single_device(other, LocalExecutor()),
        )
    )
    assert all(torch.equal(a, b) for a, b in zip(weights(made), weights(other), strict=True))
    figure(f"batches {bad} not finite: as if they had been left out, bit for bit")


def test_after_too_many_the_run_goes_back_and_past_them(batches: TokenBatches, tmp_path: Path) -> None:  # noqa: F811
    made = state()
    at, counted = [0], Counted(batches, [0])
    work = Work(tmp_path / "out", tmp_path / "scratch", LocalExecutor(), options=RunOptions(save_every_seconds=0.0))
    work.out.mkdir()
    work.scratch.mkdir()
    bad = tuple(range(10, 13))
    found = train(
        work,
        made,
        counted,
        loss_fn=Faulty(bad=bad, at=Now(made)),
        lr_schedule=RATE,
        max_grad_norm=1.0,
        guard=GuardSettings(max_consecutive_skips=3),
    )
    assert made.offset > 0
    assert not any(step.skipped for step in found[-10:])
    assert counted.order[-1] == 29
    assert [step.number for step in read_steps(work.out / METRICS_FILE)] == list(range(1, made.step + 1))
    with pytest.raises(TrainingError, match="3 steps in a row were no good: try a lower lr"):
        again = state()
        list(
            train_steps(
                again,
                Counted(batches, at),
                loss_fn=Faulty(bad=bad, at=at),
                lr_schedule=RATE,
                max_grad_norm=1.0,
                guard=GuardSettings(max_consecutive_skips=3),
                strategy=single_device(again, LocalExecutor()),
            )
        )


@given(st.lists(st.floats(0.5, 1.5), min_size=16, max_size=60), st.floats(0.0, 1.6))
def test_a_spike_is_far_above_and_nothing_else(taken: list[float], norm: float) -> None:
    assert is_outlier(1e6, taken, 6.0)
    assert not is_outlier(norm, taken[:15], 6.0)
    assert not is_outlier(min(taken), taken, 6.0)


def test_a_number_that_is_not_finite_never_enters_the_window() -> None:
    """With means over all steps one such number made 129 later ones look like spikes."""
    made = state()
    made.grad_norms = [1.0 + 0.01 * n for n in range(20)]
    guard = GuardSettings(sigma_factor=6.0)
    assert guard.is_spike(50.0, made.grad_norms)
    assert not guard.is_spike(1.1, made.grad_norms)


def test_a_run_that_is_asked_to_end_saves_and_leaves(
    batches: TokenBatches,  # noqa: F811
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made = state()
    work = Work(tmp_path / "out", tmp_path / "scratch", LocalExecutor())
    work.out.mkdir()
    work.scratch.mkdir()
    monkeypatch.setattr("herd.train.loop.stop_requested", lambda: made.step == 4)
    with pytest.raises(StoppedError, match="step 4 is saved"):
        train(work, made, batches, loss_fn=next_token_loss, lr_schedule=RATE, max_grad_norm=1.0)
    monkeypatch.undo()
    whole, again = state(), state(seed=3)
    list(
        train_steps(
            whole,
            batches,
            loss_fn=next_token_loss,
            lr_schedule=RATE,
            max_grad_norm=1.0,
            strategy=single_device(whole, LocalExecutor()),
        )
    )
    train(work, again, batches, loss_fn=next_token_loss, lr_schedule=RATE, max_grad_norm=1.0)
    assert all(torch.equal(a, b) for a, b in zip(weights(again), weights(whole), strict=True))
