"""Rows worked on at once on a GPU: as many as fit, told once. No GPU is asked here: its memory is given."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from herd.run.executors import LocalExecutor
from herd.train.batches import Batch, TokenBatches
from herd.train.cost import TrainingJob, usable_bytes
from herd.train.layout import ParallelLayout
from herd.train.loop import single_device
from herd.train.micro_batch import MicroBatches, micro_batches
from herd.train.settings import ComputeSettings
from tests.train.test_loop import batches as batches
from tests.train.test_loop import state

COMPUTE = ComputeSettings(dtype="bf16")


def rows_of(count: int, length: int) -> Batch:
    ids = torch.zeros(count, length, dtype=torch.long)
    return Batch(ids, ids, ids)


def job(length: int, rows: int) -> TrainingJob:
    return TrainingJob(state().model.shape, rows * length, length, rows * length, compiled=False)


@pytest.mark.parametrize("fit_rows", [1, 3, 8])
def test_as_many_rows_as_fit_beside_what_else_is_held(fit_rows: int, capsys: pytest.CaptureFixture[str]) -> None:
    made, length, others = state(), 128, 12_345_678
    needed = job(length, 8).memory(ParallelLayout(), fit_rows).total / usable_bytes(1.0)
    own = sum(4 * weight.numel() for weight in made.model.parameters())
    choice = MicroBatches(made, COMPUTE, ParallelLayout(), lambda: (needed * 1.0001 + others, own + others))
    assert choice.rows(rows_of(8, length)) == fit_rows
    assert choice.rows(rows_of(8, length)) == fit_rows
    told = capsys.readouterr().out
    assert told.count(f"8 rows of 128 tokens are worked on {fit_rows} at once") == (fit_rows < 8)


def test_what_does_not_fit_at_all_is_tried_row_by_row_and_others_are_left_alone() -> None:
    made = state()
    choice = MicroBatches(made, COMPUTE, ParallelLayout(), lambda: (1.0, 0.0))
    assert choice.rows(rows_of(4, 64)) == 1
    answers: Any = object()
    assert choice.rows(answers) is None
    assert MicroBatches(made, COMPUTE, ParallelLayout(pipeline=2), lambda: (1e12, 0.0)).rows(rows_of(4, 64)) is None


def test_a_cpu_works_in_halves_as_before(batches: TokenBatches) -> None:
    made = state()
    assert micro_batches(made, single_device(made, LocalExecutor())) is None
