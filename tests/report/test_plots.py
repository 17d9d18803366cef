"""Drawings: the same bits again, names as names, and what lines are made of."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from herd.report.plots import (
    curve_with_band,
    drawing,
    escape_label,
    loss_curves,
    scatter,
    shares,
    smooth,
    svg_markup,
    two_steps,
)


@given(st.lists(st.floats(-100, 100), min_size=1, max_size=200), st.floats(0.01, 1))
def test_a_smoothed_line_lies_within_what_it_smooths_and_begins_with_it(values: list[float], share: float) -> None:
    line = smooth(values, share)
    assert len(line) == len(values)
    assert line[0] == pytest.approx(values[0])
    assert all(min(values) - 1e-9 <= value <= max(values) + 1e-9 for value in line)
    assert smooth([3 * value + 1 for value in values], share) == pytest.approx(
        [3 * value + 1 for value in line], abs=1e-6
    )


def test_a_window_of_one_value_smooths_nothing() -> None:
    assert smooth([1.0, 5.0, 2.0], share=0.1) == [1.0, 5.0, 2.0]
    assert smooth([]) == []


TASK = {
    "runs": [(1e19, 1.2, 0.3), (1e20, 0.9, 0.5)],
    "line": [(1e19, 1.2, 1.1, 1.3), (1e21, 0.6, 0.5, 0.7)],
    "curve": [(1.2, 0.3, 0.2, 0.4), (0.6, 0.8, 0.7, 0.9)],
    "flops": 1e21,
    "nll": (0.6, 0.65, 0.7),  # an interval that leaves the middle out
    "accuracy": (0.8, 0.7, 0.75),
}
DRAWINGS = {
    "losses": lambda name: loss_curves([(name, [1, 1], [2.0, 1.0]), ("b", [], [])], "tokens"),
    "shares": lambda name: shares({name: {name: 0.25, "b": 0.75}, "x": {name: 1.0, "b": 0.0}}),
    "scattered": lambda name: scatter([(name, 0.5, 1.0, 0.5, 1.5)], "agreement", "answers"),
    "band": lambda name: curve_with_band({name: [(1, 0.5, 0.4, 0.6), (4, 0.7, 0.6, 0.8)]}, "answers", "right"),
    "two steps": lambda name: two_steps({name: TASK}),
}


@pytest.mark.parametrize("kind", DRAWINGS)
def test_a_drawing_is_one_element_that_is_the_same_again_and_has_names_as_text(kind: str) -> None:
    draw, name = DRAWINGS[kind], r"$\frac{$ <script>x</script>"
    svg = draw(name)
    assert svg == draw(name)
    assert svg.startswith("<svg")
    assert 'role="img"' in svg.split(">", 1)[0]
    assert "<script" not in svg
    root = ElementTree.fromstring(svg)
    assert name in {"".join(node.itertext()).strip() for node in root.iter() if node.tag.endswith("text")}
    assert str(svg_markup(svg)) == svg


def test_a_drawing_that_fails_leaves_no_figure_open() -> None:
    from matplotlib import pyplot

    with pytest.raises(KeyError), drawing(2):
        raise KeyError
    assert pyplot.get_fignums() == []
    assert escape_label("a $ b $") == r"a \$ b \$"


def test_runs_are_drawn_end_to_end_over_tokens() -> None:
    svg = loss_curves([("a", [10, 10], [2.0, 1.0]), ("b", [10], [1.0])], "tokens seen")
    assert "tokens seen" in svg
    assert "training loss" in svg
