"""A few steps tried beforehand tell what a run's steps take and hold."""

from __future__ import annotations

import pytest

from herd.core.processes import held_bytes
from herd.model.sizes import Size
from herd.train.optimizer import AdamWSettings
from herd.train.rehearsal import Rehearsal, rehearse
from herd.train.speed import PLAIN

SHAPE = Size(width=64, layers=2, heads=2, kv_heads=1, hidden=128).shape(vocabulary=300, context=64)


def test_a_step_is_timed_and_weighed_in_a_process_of_its_own() -> None:
    before = held_bytes()
    wide = Size(width=256, layers=2, heads=2, kv_heads=1, hidden=512).shape(vocabulary=300, context=64)
    asked = [Rehearsal(shape, 64, rows=4, optimizer=AdamWSettings(), speed=PLAIN) for shape in (SHAPE, wide)]
    small, large = rehearse(asked, at_once=2)
    assert 0 < small.core_seconds < large.core_seconds
    if before:  # Linux says what a process holds
        # Weights, gradients and two moments in fp32 at the least.
        assert small.held_bytes > 12 * SHAPE.weights
        assert large.held_bytes > 12 * wide.weights
        assert held_bytes() - before < large.held_bytes


@pytest.mark.parametrize("rows", [1, 3])
def test_any_number_of_rows_can_be_tried(rows: int) -> None:
    (pace,) = rehearse([Rehearsal(SHAPE, 32, rows, AdamWSettings(), PLAIN)], threads=2)
    assert pace.core_seconds > 0
