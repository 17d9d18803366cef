"""Bars: they hold when they are met, and only then."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from herd.core.errors import SettingsError
from herd.evals.intervals import Interval, wilson
from herd.evals.results import (
    BoilerplateCount,
    CleanCount,
    CurationAudit,
    EvaluationResult,
    NeedleCell,
    PlantedCount,
    TaskResult,
)
from herd.pretrain.results import ContextExtension, GateResult, ShortLosses
from herd.report.plots import loss_curves, scaling, scores, smooth
from herd.report.stages import check_criteria
from herd.report.verdicts import (
    Criteria,
    GainClaim,
    TaskBar,
    audit_verdicts,
    gain_verdict,
    needle_verdicts,
)
from herd.scaling.results import IsoFlopCurve, PowerLawFit, ScalingLaw
from tests.results import Made

BARS = Criteria(needle_model="base", gains=())


def audit(left: int, lost: int) -> CurationAudit:
    planted = {"near-duplicate": PlantedCount(40, left), "older capture": PlantedCount(10, 0)}
    return CurationAudit(CleanCount(1000, lost), BoilerplateCount(1000, 0), {}, planted, 0.9)


@pytest.mark.parametrize(
    ("left", "lost", "wanted"), [(0, 10, [True, True, True]), (1, 0, [False, True, True]), (0, 11, [True, True, False])]
)
def test_curation(left: int, lost: int, wanted: list[bool]) -> None:
    assert [one.holds for one in audit_verdicts(audit(left, lost), BARS)] == wanted


@pytest.mark.parametrize(("gate", "found", "holds"), [(True, 38, True), (True, 37, False), (False, 40, False)])
def test_needles(gate: bool, found: int, holds: bool) -> None:
    cells = [NeedleCell(512, 0.0, found, 40)]
    (one,) = needle_verdicts({512: gate}, cells, BARS)
    assert one.holds == holds
    (never,) = needle_verdicts({1024: True}, cells, BARS)
    assert not never.holds


def task(share: float, right: Sequence[int | None]) -> TaskResult:
    return TaskResult(share, 0.0, 1.0, len(right), 0, tuple(right), truncated_share=0.0, tokens=1.0)


def row(right: int, count: int) -> TaskResult:
    return task(wilson(right, count).value, [1] * right + [0] * (count - right))


@pytest.mark.parametrize(
    ("before", "after", "count", "holds"),
    [(50, 100, 200, True), (50, 51, 200, False), (50, 100, 199, False), (100, 50, 200, False)],
)
def test_gains(before: int, after: int, count: int, holds: bool) -> None:
    found = {"a": {"sums": row(before, count)}, "b": {"sums": row(after, count)}}
    assert gain_verdict(GainClaim(task="sums", before="a", after="b"), found).holds == holds


def test_a_gain_nobody_measured_is_missed() -> None:
    one = gain_verdict(GainClaim(task="sums", before="a", after="b"), {"a": {}})
    assert not one.holds
    assert "was not measured" in one.figure


def test_drawings_are_svg_that_is_the_same_again() -> None:
    tokens, losses = (1e3, 2e3, 4e3, 8e3), (3.0, 2.0, 2.0, 3.0)
    curve = IsoFlopCurve(1e9, tokens, losses, tokens, (1.0, -16.0, 66.0), 0.9, True, "", 3e3, 2.0)
    law = PowerLawFit(0.5, 1.0, (), 1e4, (9e3, 2e4), 1)
    flat = replace(curve, inside=False)
    drawings = [
        lambda: loss_curves([("a", [1, 1], [2.0, 1.0])], "tokens"),
        lambda: scaling(ScalingLaw((curve, replace(curve, flops=2e9)), law, {}, 1e10)),
        lambda: scaling(ScalingLaw((flat,), None, {}, 1e10)),
        lambda: scores(["a", "b"], {"sums": [None, Interval(0.5, 0.4, 0.6)]}),
    ]
    for draw in drawings:
        first = draw()
        assert first.startswith("<svg")
        assert first == draw()


def test_smoothing_keeps_a_constant() -> None:
    assert smooth([2.0] * 50) == pytest.approx([2.0] * 50)


def test_a_study_that_measures_no_needles_is_held_to_none() -> None:
    gate = GateResult(0.95, 1.0, (), (), passed=True)
    short = ShortLosses(64, {}, {})
    made: Any = [Made(ContextExtension(512, 512, True, gate, (), (), gate, short, short))]
    assert check_criteria(made, [], Criteria()) == []
    (verdict,) = check_criteria(made, [], Criteria(needle_model="base"))
    assert verdict.figure == "never measured"


def test_what_is_void_in_either_says_nothing_of_a_gain() -> None:
    void = task(0.0, [None] * 10 + [0] * 200)
    after = task(0.5, [1] * 10 + [1] * 100 + [0] * 99 + [None])
    one = gain_verdict(
        GainClaim(task="sums", before="a", after="b", questions=199), {"a": {"sums": void}, "b": {"sums": after}}
    )
    assert one.holds
    assert "over 199 questions" in one.figure
    nothing = task(0.0, [None] * 210)
    assert not gain_verdict(
        GainClaim(task="sums", before="a", after="b"), {"a": {"sums": nothing}, "b": {"sums": after}}
    ).holds


def measured(label: str, right: int, count: int, void: int = 0) -> Any:
    share = wilson(right, count - void)
    scores = [*[1] * right, *[0] * (count - void - right), *[None] * void]
    result = TaskResult(*share, count, void, tuple(scores), truncated_share=0.0, tokens=1.0)
    return Made(EvaluationResult(label, True, {"sums": result}, (NeedleCell(256, 0.5, right, count),)))


@pytest.mark.parametrize(
    ("right", "count", "bar", "holds"),
    [
        (190, 200, {"at_least": 0.95}, True),
        (189, 200, {"at_least": 0.95}, False),
        (199, 199, {"at_least": 0.95}, False),  # too few questions
        (199, 199, {"at_least": 0.95, "questions": 199}, True),
        (10, 200, {"at_most": 0.05}, True),
        (11, 200, {"at_most": 0.05}, False),
        (0, 200, {"at_most": 0.0}, True),
    ],
)
def test_the_share_decides_whether_a_bar_holds(right: int, count: int, bar: dict[str, Any], holds: bool) -> None:
    for task in ("sums", "needle_256"):
        criteria = Criteria(bars=(TaskBar(task=task, model="final", **bar),))
        (verdict,) = check_criteria([measured("final", right, count)], [], criteria)
        assert verdict.holds == holds
        assert verdict.share == wilson(right, count)
        assert verdict.questions == count
        assert f"{right / count:.1%} [" in verdict.figure


def test_a_bar_counts_no_void_question_and_is_missed_where_nothing_was_measured() -> None:
    bars = (TaskBar(task="sums", model="final", at_least=0.5), TaskBar(task="poems", model="final", at_least=0.0))
    sums, poems = check_criteria([measured("final", 199, 210, void=11)], [], Criteria(bars=bars))
    assert not sums.holds
    assert sums.questions == 199
    assert not poems.holds
    assert poems.figure == "never measured"


@pytest.mark.parametrize("thresholds", [{}, {"at_least": 0.5, "at_most": 0.6}])
def test_a_bar_has_one_threshold(thresholds: dict[str, Any]) -> None:
    with pytest.raises(SettingsError, match="needs one of at_least and at_most"):
        TaskBar(task="sums", model="final", **thresholds)
