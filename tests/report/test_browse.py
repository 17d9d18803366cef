"""The page of what was kept and removed: counts, marks, and nothing that runs."""

from __future__ import annotations

from typing import Any

import jinja2
import pytest

from herd.report.browse import render_browser


def group(step: str, count: int, *texts: str, **more: str) -> dict[str, Any]:
    shown = [
        {"id": f"{step}-{n}", "url": "", "reason": "", "pieces": [{"text": text, "marked": n == 1}]} | more
        for n, text in enumerate(texts)
    ]
    return {"step": step, "count": count, "shown": shown}


def test_documents_are_counted_by_all_steps_and_kept_ones_are_those_of_kept() -> None:
    page = render_browser([group("kept", 1200), group("word_count", 34), group("minhash", 5)], "mine")
    assert "1,200 of 1,239 documents were kept" in page
    assert page.index('id="kept"') < page.index('id="word_count"') < page.index('id="minhash"')
    assert "0 of 5 documents were kept" in render_browser([group("minhash", 5)], "mine")


def test_what_others_wrote_is_text_and_only_marked_pieces_are_marked() -> None:
    evil = "<script>alert(1)</script>"
    page = render_browser([group("kept", 2, evil, "<b>x</b>", url=f"https://a.example/{evil}", reason=evil)], evil)
    assert "<script>" not in page
    assert page.count("&lt;script&gt;") == 7  # two titles, one text, two addresses and two reasons
    assert "<mark>&lt;b&gt;x&lt;/b&gt;</mark>" in page
    assert page.count("<mark>") == 1


def test_a_document_without_an_address_is_called_by_its_id() -> None:
    page = render_browser([group("kept", 1, "text")], "mine")
    assert "kept-0" in page
    assert "<small>" not in page  # no reason was given
    with pytest.raises(jinja2.UndefinedError):  # and a row that lacks what the page shows is no empty place on it
        render_browser([{"step": "kept", "count": 1, "shown": [{"id": "a", "reason": "", "url": "x"}]}], "mine")
