"""What the page says about a run."""

from __future__ import annotations

from herd.report.pages import step_figures


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


def test_names_with_dollars_and_tags_are_drawn_as_names() -> None:
    from herd.report.plots import shares

    name = r"$\frac{$ <script>alert(1)</script> $"
    svg = shares({name: {name: 0.5, "b": 0.5}, "other": {name: 1.0, "b": 0.0}})
    assert "<script" not in svg
    assert svg.count("&lt;script&gt;") >= 2
