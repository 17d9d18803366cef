"""What single sections show."""

from __future__ import annotations

from types import FunctionType
from typing import Any

import pytest

from herd.align.results import FinetuningResult
from herd.core.errors import SettingsError
from herd.corpus.results import DedupStats
from herd.report.sections import Section, SectionPart, Sections, render_parts
from herd.report.sections.funnel import dedup_steps
from tests.results import Made, example


def test_what_steps_over_all_documents_counted_is_a_sentence() -> None:
    dedup = {
        "newest_by_url": DedupStats(),
        "minhash": DedupStats(
            {"clusters": 1200, "sizes": {"2": 3, "3 to 4": 0}, "pairs": 7},
            ({"size": 9, "kept": "a", "dropped": ("b", "c")},),
        ),
    }
    (step,) = dedup_steps(dedup)
    assert step == {
        "step": "minhash",
        "sentence": "clusters 1,200; sizes: 2: 3; pairs 7",
        "samples": ["size 9, kept a, dropped b, c"],
    }


def test_a_part_is_a_table_a_drawing_or_both() -> None:
    html = str(render_parts([SectionPart("A", "a < b"), SectionPart("B", "", head=("x", "y"), rows=[(1, "<")])]))
    assert "a &lt; b" in html
    assert html.count("<table>") == 1
    assert '<td class="n">&lt;</td>' in html


def test_sections_are_asked_only_for_what_was_recorded_and_stand_in_their_order() -> None:
    own = Sections()
    made: Any = [Made(example(FinetuningResult))]

    def page_end(made: Any) -> Section | None:
        return Section("end", "End", "")

    def nothing(made: Any) -> Section | None:
        return None

    def never(made: Any) -> Section | None:
        raise AssertionError

    def page_top(made: Any) -> Section | None:
        return Section("top", "Top", "")

    own.add(FinetuningResult)(page_end)
    own.add(FinetuningResult, order=2)(nothing)
    own.add(DedupStats, order=3)(never)
    own.add(DedupStats, FinetuningResult, order=1)(page_top)
    own._registry._searched = True  # the packaged ones are the house's
    assert [section.id for section in own.show(made)] == ["top", "end"]
    twin = FunctionType(page_end.__code__, {}, "page_top")
    with pytest.raises(SettingsError, match="two sections are called 'page_top'"):
        own.add(FinetuningResult)(twin)
