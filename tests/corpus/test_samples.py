"""The page to browse: places marked are those a rule objects to, and nothing on it runs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from herd.core.artifacts import Corpus
from herd.corpus.filters import filters
from herd.corpus.samples import marked_pieces, marked_spans, sample_documents
from herd.corpus.settings import CurateSettings
from herd.corpus.sources import files
from herd.corpus.stages import curate
from herd.report.browse import render_browser
from herd.run.runner import run_stages


@pytest.mark.parametrize(
    ("step", "text", "marked"),
    [
        ("repeated_lines", "one\ntwo\none", ["one"]),
        ("repeated_paragraphs", "a b\n\nc\n\na b", ["a b"]),
        ("top_ngrams", "buy now buy now or buy now", ["buy now", "buy now", "buy now"]),
        ("curly_braces", "if {x}", ["{"]),
        ("bullets", "- a\nb\n• c", ["- a", "• c"]),
        ("few_alphabetic_words", "in 1999 -- there", ["1999", "--"]),
        ("uppercase_words", "BUY it NOW", ["BUY", "NOW"]),
        ("word_count", "short", []),
    ],
)
def test_the_place_is_marked(step: str, text: str, marked: list[str]) -> None:
    assert [text[a:b] for a, b in marked_spans(step, text)] == marked


def test_a_long_text_is_shown_round_its_first_mark() -> None:
    text = "x" * 9000 + "{" + "y" * 9000
    shown = list(marked_pieces(text, marked_spans("curly_braces", text)))
    assert [piece["text"] for piece in shown if piece["marked"]] == ["{"]
    assert sum(len(piece["text"]) for piece in shown) < 1600


def test_the_page_shows_kept_and_removed_and_escapes_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HERD_CACHE", str(tmp_path / "cache"))
    rows = [
        {"text": f"kept <script>alert({n})</script> words here", "url": f"https://a.example/The%20page{n}"}
        for n in range(40)
    ]
    rows += [{"text": "BUY NOW CHEAP & <b>FAST</b>"}]
    (tmp_path / "a.jsonl").write_text("\n".join(map(json.dumps, rows)))
    rules = CurateSettings(rules={"default": (filters.configure("uppercase_words"),)})
    made = run_stages(curate((files(str(tmp_path / "a.jsonl"), source="a"),), settings=rules), tmp_path / "run", jobs=0)
    assert isinstance(made, Corpus)
    groups = sample_documents(made, limit=5)
    assert [(group["step"], group["count"], len(group["shown"])) for group in groups] == [
        ("kept", 40, 5),
        ("uppercase_words", 1, 1),
    ]
    assert groups[0]["shown"][3]["url"] == "https://a.example/The page3"  # as people read it
    page = render_browser(groups, "mine")
    assert "<script>" not in page
    assert "<mark>BUY</mark>" in page
    assert "&lt;b&gt;" in page
