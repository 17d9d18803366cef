"""Bars: they hold when they are met, and only then."""

from __future__ import annotations

from typing import Any

import pytest

from herd.evals.spread import wilson
from herd.report.plots import loss_curves, scaling, scores, smooth
from herd.report.stages import judge
from herd.report.verdicts import Bars, Gain, audit_verdicts, gain_verdict, needle_verdicts

BARS = Bars(needle_model="base", gains=())


def audit(left: int, lost: int) -> dict[str, dict[str, int]]:
    return {
        "near-duplicate": {"planted": 40, "left": left},
        "older capture": {"planted": 10, "left": 0},
        "boilerplate": {"pages": 1000, "left": 0},
        "clean": {"planted": 1000, "lost": lost},
    }


@pytest.mark.parametrize(
    ("left", "lost", "wanted"), [(0, 10, [True, True, True]), (1, 0, [False, True, True]), (0, 11, [True, True, False])]
)
def test_curation(left: int, lost: int, wanted: list[bool]) -> None:
    assert [one.holds for one in audit_verdicts(audit(left, lost), BARS)] == wanted


@pytest.mark.parametrize(("gate", "found", "holds"), [(True, 38, True), (True, 37, False), (False, 40, False)])
def test_needles(gate: bool, found: int, holds: bool) -> None:
    cells = [{"length": 512, "depth": 0.0, "found": found, "asked": 40}]
    (one,) = needle_verdicts({512: gate}, cells, BARS)
    assert one.holds == holds
    (never,) = needle_verdicts({1024: True}, cells, BARS)
    assert not never.holds


def row(right: int, count: int) -> dict[str, object]:
    found = wilson(right, count)
    return {"share": found.value, "right": [1] * right + [0] * (count - right)}


@pytest.mark.parametrize(
    ("before", "after", "count", "holds"),
    [(50, 100, 200, True), (50, 51, 200, False), (50, 100, 199, False), (100, 50, 200, False)],
)
def test_gains(before: int, after: int, count: int, holds: bool) -> None:
    found = {"a": {"sums": row(before, count)}, "b": {"sums": row(after, count)}}
    assert gain_verdict(Gain(task="sums", before="a", after="b"), found).holds == holds


def test_a_gain_nobody_measured_is_missed() -> None:
    one = gain_verdict(Gain(task="sums", before="a", after="b"), {"a": {}})
    assert not one.holds
    assert "was not measured" in one.figure


def test_drawings_are_svg_that_is_the_same_again() -> None:
    curve = {
        "flops": 1e9,
        "tokens": [1e3, 2e3, 4e3, 8e3],
        "losses": [3, 2, 2, 3],
        "parabola": [1.0, -16.0, 66.0],
        "inside": True,
        "best_tokens": 3e3,
        "best_loss": 2.0,
    }
    law = {"factor": 1.0, "exponent": 0.5, "best_tokens": 1e4, "best_tokens_interval": [9e3, 2e4]}
    drawings = [
        lambda: loss_curves([("a", [1, 1], [2.0, 1.0])], "tokens"),
        lambda: scaling({"curves": [curve, curve | {"flops": 2e9}], "law": law, "target_flops": 1e10}),
        lambda: scaling({"curves": [curve | {"inside": False}], "law": None, "target_flops": 1e10}),
        lambda: scores(["a", "b"], {"sums": [None, {"share": 0.5, "low": 0.4, "high": 0.6}]}),
    ]
    for draw in drawings:
        first = draw()
        assert first.startswith("<svg")
        assert first == draw()


def test_smoothing_keeps_a_constant() -> None:
    assert smooth([2.0] * 50) == pytest.approx([2.0] * 50)


def test_a_study_that_measures_no_needles_is_held_to_none() -> None:
    class Made:
        figures = {"length": 512, "gate": {"passed": True}}  # noqa: RUF012

    made: Any = [Made()]
    assert judge(made, [], Bars()) == []
    (verdict,) = judge(made, [], Bars(needle_model="base"))
    assert verdict.figure == "never measured"


def test_what_is_void_in_either_says_nothing_of_a_gain() -> None:
    void = {"share": 0.0, "right": [None] * 10 + [0] * 200}
    after = {"share": 0.5, "right": [1] * 10 + [1] * 100 + [0] * 99 + [None]}
    one = gain_verdict(
        Gain(task="sums", before="a", after="b", questions=199), {"a": {"sums": void}, "b": {"sums": after}}
    )
    assert one.holds
    assert "over 199 questions" in one.figure
    nothing = {"share": 0.0, "right": [None] * 210}
    assert not gain_verdict(
        Gain(task="sums", before="a", after="b"), {"a": {"sums": nothing}, "b": {"sums": after}}
    ).holds
