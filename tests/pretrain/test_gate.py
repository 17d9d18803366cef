"""The gate before a longer context, cell by cell and source by source."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from herd.core.artifacts import ArtifactMetadata, Checkpoint, write_metadata
from herd.core.results import results
from herd.evals.haystack import DEPTHS, Haystack, Needle
from herd.evals.intervals import Interval, ratio_mean
from herd.evals.needle import NeedleGrid
from herd.pretrain.gate import GateTest, baseline, lengths_up_to
from herd.pretrain.results import ContextExtension, GateResult, ShortLosses
from herd.run.executors import LocalExecutor

NEEDLE = Needle("oak", "red lion")


def grid(missed: tuple[int, float] | None, lengths: tuple[int, ...], seeds: int = 8) -> NeedleGrid:
    made = NeedleGrid()
    for length in lengths:
        for depth in DEPTHS:
            for seed in range(seeds):
                made.add(Haystack(length, depth, "", NEEDLE), hit=(length, depth) != missed or seed > 1)
    return made


def asked(monkeypatch: pytest.MonkeyPatch, now: dict[str, float], missed: tuple[int, float] | None = None) -> GateTest:
    """An exam of a model that misses two of eight needles in one cell, and has these short losses."""
    exam = GateTest(None, None, (), {"a": 0.9, "b": 0.1}, seeds=8, tolerance=0.01, executor=LocalExecutor())  # type: ignore[arg-type]
    monkeypatch.setattr(GateTest, "needle_grid", lambda self, model, length: grid(missed, lengths_up_to(length)))
    monkeypatch.setattr(GateTest, "short_losses", lambda self, model, length, shares=None: losses(now))
    return exam


def losses(values: dict[str, float], half: float = 0.05) -> ShortLosses:
    return ShortLosses(
        64, {name: Interval(one, one - half, one + half) for name, one in values.items()}, {"a": 0.9, "b": 0.1}
    )


def test_a_test_asks_every_length_up_to_the_present_one() -> None:
    assert lengths_up_to(1024) == (128, 256, 512, 1024)
    assert lengths_up_to(256) == (64, 128, 256)
    assert lengths_up_to(64) == (64,)
    assert lengths_up_to(48) == (48,)


@pytest.mark.parametrize("missed", [(128, 0.25), (256, 1.0), (1024, 0.5)])
def test_one_bad_cell_fails_the_gate(missed: tuple[int, float], monkeypatch: pytest.MonkeyPatch) -> None:
    """Two needles of 160 are missed, which no mean over depths or lengths would show at 95 %."""
    exam = asked(monkeypatch, {"a": 1.0, "b": 2.0}, missed)
    assert exam.needle_grid(None, 1024).at(missed[0]).value >= 0.95  # type: ignore[arg-type]
    verdict = exam.run(None, 1024, 0.95, None)  # type: ignore[arg-type]
    assert not verdict
    assert verdict.missed == (missed,)
    assert str(verdict) == f"failed: 6 of 8 needles found at {missed[0]} tokens, depth {missed[1]:g}"
    assert exam.run(None, 1024, 0.7, None)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("now", "worse"),
    [
        ({"a": 1.0, "b": 2.0}, ()),
        ({"a": 0.9, "b": 2.04}, ()),  # above 1 %, but inside what rows say about it
        ({"a": 0.9, "b": 2.06}, ("b",)),  # forgotten, though the mean over the sources fell
        ({"a": 1.04, "b": 2.0}, ("all",)),  # inside its interval, and too much of the whole
        ({"a": 1.1, "b": 2.1}, ("a", "b", "all")),
    ],
)
def test_every_source_must_be_told_as_well_as_before(
    now: dict[str, float], worse: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    verdict = asked(monkeypatch, now).run(None, 256, 1.0, losses({"a": 1.0, "b": 2.0}))  # type: ignore[arg-type]
    assert verdict.worse == worse
    assert bool(verdict) == (not worse)
    assert verdict.result().passed == bool(verdict)
    assert all(name in str(verdict) for name in worse)


def test_a_baseline_is_kept_on_the_card_and_read_from_it(tmp_path: Path) -> None:
    before = losses({"a": 1.0, "b": 2.0})
    cell = GateResult(0.95, 1.0, (), (), True)
    found = ContextExtension(96, 64, False, cell, (), (), cell, before, before)
    write_metadata(tmp_path, ArtifactMetadata("Checkpoint", "c", "x", 1, "", "", {}, {}, results.to_rows([found])))
    assert baseline(Checkpoint(tmp_path)) == before
    assert before.mean == pytest.approx(1.1)
    assert baseline(Checkpoint(tmp_path / "elsewhere")) is None  # a model from elsewhere has none


def test_a_mean_over_rows_has_an_interval_of_rows() -> None:
    same = ratio_mean([2.0, 4.0, 6.0], [1, 2, 3])
    assert (same.value, same.low, same.high) == pytest.approx((2.0, 2.0, 2.0))
    # Equal rows: Student's interval of their means, by hand: 2 +- 4.303 * 1 / sqrt(3).
    rows = ratio_mean([10.0, 20.0, 30.0], [10, 10, 10])
    assert (rows.value, rows.high - rows.value) == pytest.approx((2.0, 2.484), abs=1e-3)
    assert ratio_mean([3.0], [2]) == Interval(1.5, -math.inf, math.inf)
