"""What the page says about a run."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

from herd.report import pages
from herd.report.pages import evaluation, step_figures


def test_what_steps_over_all_documents_found_is_told() -> None:
    figures = {
        "newest_by_url": {},
        "minhash": {
            "clusters": 1200,
            "sizes": {"2": 3, "3 to 4": 0},
            "largest": [{"size": 9, "kept": "a", "dropped": ["b", "c"]}],
        },
    }
    (told,) = step_figures(figures)
    assert told == {
        "step": "minhash",
        "told": "clusters 1,200; sizes: 2: 3",
        "samples": ["size 9, kept a, dropped b, c"],
    }


def measured(label: str, **tasks: dict[str, float]) -> Any:
    return SimpleNamespace(figures={"measured": {"label": label, "tasks": tasks}})


def test_scores_and_bits_a_byte_stand_side_by_side_and_only_scores_are_drawn() -> None:
    share = {"share": 0.5, "low": 0.25, "high": 0.75, "questions": 8}
    bits = {"bits_per_byte": 1.25, "low": 1.1, "high": 1.4, "questions": 3}
    found = evaluation([measured("base", sums=share, book=bits), measured("chat", sums=share)])
    assert found is not None
    assert [[cell["share"] for cell in row["cells"]] for row in found["rows"]] == [
        ["50.0%", "50.0%"],
        ["1.250 bits a byte", ""],
    ]
    assert "sums" in found["drawing"]
    assert "book" not in found["drawing"]
    alone = evaluation([measured("base", book=bits)])
    assert alone is not None
    assert alone["drawing"] == ""


def test_the_page_speaks_of_no_world_by_itself() -> None:
    text = Path(pages.__file__).with_name("page.html").read_text(encoding="utf-8")
    assert "world" not in text.lower()


def test_names_with_dollars_and_tags_are_drawn_as_names() -> None:
    from herd.report.plots import shares

    name = r"$\frac{$ <script>alert(1)</script> $"
    svg = shares({name: {name: 0.5, "b": 0.5}, "other": {name: 1.0, "b": 0.0}})
    assert "<script" not in svg
    assert svg.count("&lt;script&gt;") >= 2
