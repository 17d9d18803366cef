"""The section on held-out examples: runs laid over each other, the kept epoch marked, names of others escaped."""

from __future__ import annotations

import math
import re
from dataclasses import replace
from typing import Any

import pytest

from herd.evals.intervals import Interval
from herd.evals.results import ValidationCurve, ValidationPoint
from herd.report.sections.validation import drawing_of, validation_section
from tests.results import Made


def curve(losses: list[float], kept: int, **more: float) -> ValidationCurve:
    def figures(loss: float) -> dict[str, Interval]:
        values = {"loss": loss, **more}
        return {name: Interval(value, value - 0.1, value + 0.1) for name, value in values.items()}

    points = tuple(ValidationPoint(4 * epoch, float(epoch), figures(loss)) for epoch, loss in enumerate(losses))
    changes = {name: Interval(losses[kept] - losses[0], -1.0, 1.0) for name in points[0].figures}
    best = 4 * min(range(1, len(losses)), key=losses.__getitem__)
    return ValidationCurve(points, "loss", 12, best, 4 * kept, kept < len(losses) - 1, changes)


def test_runs_lie_over_each_other_with_a_star_where_weights_were_kept() -> None:
    two = {"one": curve([2.0, 1.5, 1.7], 1), "an<b>other": curve([2.0, 1.9], 1)}
    svg = drawing_of(two, "loss")
    assert svg.count("an&lt;b&gt;other") == 1
    assert "0: 2.000, 1: 1.500, 2: 1.700; 0: 2.000, 1: 1.900" in svg
    assert len(re.findall(r'<g id="PolyCollection_\d+">|<g id="FillBetweenPolyCollection_\d+">', svg)) == 2


@pytest.mark.parametrize("more", [{}, {"accuracy": 0.5, "margin": 0.2, "nll": 3.0}])
def test_figures_before_and_after_stand_in_a_table(more: dict[str, float]) -> None:
    made: Any = [Made(curve([2.0, 1.5, 1.7], 1, **more), key="sft-1"), Made(curve([2.0, 1.6], 1), key="sft-2")]
    section = validation_section(made)
    assert section is not None
    html = str(section.html)
    assert html.count("<svg") == (3 if more else 1)
    assert "12 examples that were never learnt" in html
    assert html.count("made 1</td>") == 1 + len(more)  # the stage's name and number, and no key
    assert "sft-1" not in html
    for cell in ("2.000", "1.500", "-0.500 [-1.000, +1.000]"):
        assert f">{cell}<" in html


def test_one_example_has_no_band_and_no_interval() -> None:
    whole = curve([2.0, 1.5], 1)
    unknown = {"loss": Interval(2.0, -math.inf, math.inf)}
    points = tuple(replace(point, figures=unknown) for point in whole.points)
    alone = replace(whole, points=points, examples=1, changes={"loss": Interval(-0.5, -math.inf, math.inf)})
    assert "PolyCollection" not in drawing_of({"one": alone}, "loss")
    section = validation_section([Made(alone, key="sft-1")])  # type: ignore[list-item]
    assert section is not None
    assert "1 example that was never learnt; of which there is no interval" in str(section.html)
    assert ">-0.500 (one example, no interval)<" in str(section.html)


def test_nothing_measured_is_nothing_shown() -> None:
    made: Any = [Made()]
    assert validation_section(made) is None
