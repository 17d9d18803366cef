"""A run on two ranks that is killed and frozen at random ends as the undisturbed one does."""

from __future__ import annotations

import importlib
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parent.parent.parent / "benchmarks"


@pytest.mark.row(38, "faults")
def test_ranks_killed_and_frozen_at_random_change_no_bit(
    smoke_run: Path, tmp_path: Path, figure, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`benchmarks/faults.py` does it a hundred times; here it is three, so that it runs at every change: as ranks
    start, in training, and as they start again. Stages before the spread one are those of a run that is there."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    faults = importlib.import_module("faults")
    found = faults.measure(2, 1, 60_000, "data=2", 3, tmp_path, smoke_run)
    assert found["exit"] == 0, found
    assert (found["killed"], found["frozen"]) == (2, 1)
    assert found["steps"] > 100
    assert found["weights_equal"]
    assert found["losses_equal"]
    figure(f"{found['killed']} ranks killed, {found['frozen']} frozen: weights and losses equal bit for bit")
