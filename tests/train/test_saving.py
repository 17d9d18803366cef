"""When training is saved, what is kept of it, when garbage is collected, and traces of steps."""

from __future__ import annotations

import gc
import json
import random
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from herd.commands.run import parse_trace_steps
from herd.core.errors import SettingsError
from herd.core.stage import RunOptions, Work
from herd.run.executors import LocalExecutor
from herd.train.batches import TokenBatches
from herd.train.checkpoint import checkpoints
from herd.train.loop import train
from herd.train.objectives import next_token_loss
from herd.train.saving import (
    MAX_INTERVAL_SECONDS,
    MIN_INTERVAL_SECONDS,
    SaveSchedule,
    StepTrace,
    collect_garbage,
    hours_between_failures,
    young_interval,
)
from tests.train.test_loop import RATE, same, state
from tests.train.test_loop import batches as batches


class Clock:
    """Time that goes on only when it is told to."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def test_youngs_interval_is_that_of_the_papers_numbers() -> None:
    # 60 s a checkpoint, and the 3.09 h between failures of Llama 3's 16,384 devices: about 19 minutes.
    assert hours_between_failures(16_384) == pytest.approx(3.09, abs=0.01)
    assert young_interval(60, hours_between_failures(16_384)) / 60 == pytest.approx(19.3, abs=0.1)
    assert hours_between_failures(1) == 24


def lost(interval: float, cost: float, hours: float, failures: int) -> float:
    """The share of time that goes to saving and to what is done again, when failures come at random."""
    chance, useful, spent = random.Random(0), 0.0, 0.0
    for _ in range(failures):
        between = chance.expovariate(1 / (hours * 3600))
        useful += between // (interval + cost) * interval
        spent += between
    return 1 - useful / spent


def test_youngs_interval_loses_less_than_shorter_and_longer_ones() -> None:
    best = young_interval(60, 3.09)
    losses = {factor: lost(factor * best, 60, 3.09, 20_000) for factor in (0.25, 0.5, 1, 2, 4)}
    assert min(losses, key=losses.__getitem__) == 1
    assert losses[1] < 0.11


@given(st.floats(0, 1e4), st.integers(1, 100_000))
def test_an_interval_is_within_bounds_and_comes_from_what_saving_cost(cost: float, devices: int) -> None:
    clock = Clock()
    due = SaveSchedule(None, 0, devices, clock)
    assert due.interval == MIN_INTERVAL_SECONDS
    with due.saving():
        clock.now += cost
    assert MIN_INTERVAL_SECONDS <= due.interval <= MAX_INTERVAL_SECONDS
    assert due.interval == pytest.approx(
        min(
            MAX_INTERVAL_SECONDS, max(MIN_INTERVAL_SECONDS, young_interval(clock.now, hours_between_failures(devices)))
        ),
        rel=1e-6,
    )


def test_seconds_that_are_asked_for_stay() -> None:
    clock = Clock()
    due = SaveSchedule(40, 0, 8, clock)
    with due.saving():
        clock.now += 500
    assert (due.interval, due.is_due(3)) == (40, False)
    clock.now += 41
    assert due.is_due(3)


def test_multiples_are_due_whatever_the_clock_says() -> None:
    due = SaveSchedule(None, 100, 1, Clock())
    assert [step for step in range(1, 301) if due.is_due(step)] == [100, 200, 300]


def test_checkpoints_of_every_so_many_steps_stay(batches: TokenBatches, tmp_path: Path) -> None:
    work = Work(tmp_path, tmp_path, LocalExecutor(), options=RunOptions(save_every_seconds=0.0, keep_every_steps=8))
    trained = state()
    train(work, trained, batches, loss_fn=next_token_loss, lr_schedule=RATE, max_grad_norm=1.0)
    names = [folder.name for folder in checkpoints(tmp_path)]
    assert names == [f"step-{step:09}" for step in (8, 16, 24, 28, 29)]
    plain = state()
    plain_work = Work(tmp_path / "plain", tmp_path / "plain", LocalExecutor())
    train(plain_work, plain, batches, loss_fn=next_token_loss, lr_schedule=RATE, max_grad_norm=1.0)
    assert same(trained, plain)


def test_garbage_is_collected_between_steps_only() -> None:
    seen: list[int] = []
    ran = lambda phase, info: seen.append(step) if phase == "start" else None  # noqa: E731
    step = 0
    gc.callbacks.append(ran)
    try:
        with collect_garbage(4) as after:
            assert not gc.isenabled()
            for step in range(1, 13):
                for _ in range(5_000):  # more circles than the collector would let pass by itself
                    circle: list[object] = []
                    circle.append(circle)
                after(step)
        assert gc.isenabled()
    finally:
        gc.callbacks.remove(ran)
    assert [number for number in seen if number] == [4, 8, 12]
    with collect_garbage(0) as after:
        assert gc.isenabled()
        after(4)


def test_a_trace_is_of_the_steps_asked_for(batches: TokenBatches, tmp_path: Path) -> None:
    work = Work(tmp_path, tmp_path, LocalExecutor(), options=RunOptions(profile=(5, 2)), curves=tmp_path / "curves")
    train(work, state(), batches, loss_fn=next_token_loss, lr_schedule=RATE, max_grad_norm=1.0)
    events = json.loads((tmp_path / "curves" / "trace-5.json").read_text(encoding="utf-8"))["traceEvents"]
    updates = [event for event in events if "Optimizer.step#AdamW.step" in event.get("name", "")]
    assert len(updates) == 2


def test_a_training_that_ends_in_its_traced_steps_writes_them(tmp_path: Path) -> None:
    trace = StepTrace((1, 50), tmp_path)
    trace.before(1)
    trace.after(1)
    trace.close()
    assert (tmp_path / "trace-1.json").exists()


def test_steps_to_trace_are_read_or_refused() -> None:
    assert parse_trace_steps("10:3") == (10, 3)
    for words in ("10", "0:3", "a:b", "3:0", "-1:2"):
        with pytest.raises(Exception, match="such as 10:3"):
            parse_trace_steps(words)
    with pytest.raises(SettingsError, match="such as 10:3"):
        RunOptions(profile=(0, 1))


def test_how_a_run_is_done_travels_to_other_processes() -> None:
    manner = RunOptions(trackers=("wandb",), save_every_seconds=None, keep_every_steps=5, profile=(3, 4))
    assert RunOptions.from_json(manner.to_json()) == manner
