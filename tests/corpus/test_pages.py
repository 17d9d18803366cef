"""Pages go to the workers in batches of bounded size, in their order, with what cannot be written replaced."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from herd.corpus import pages as room
from herd.corpus.pages import Page, batch_pages


def test_batches_are_bounded_and_keep_the_order() -> None:
    many = [Page(str(n), "a", b"x" * 3_000_000) for n in range(12)]
    made = list(batch_pages(many))
    assert [name for batch in made for name in batch.column("id").to_pylist()] == [str(n) for n in range(12)]
    assert all(batch.column("body").nbytes < 17_000_000 for batch in made)


@given(st.lists(st.integers(0, 40), max_size=30))
def test_a_batch_is_cut_at_its_bytes_or_its_pages_and_never_before(sizes: list[int]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(room, "BATCH_BYTES", 50)
        patch.setattr(room, "BATCH_PAGES", 4)
        made = list(batch_pages(Page(str(n), "a", b"x" * size) for n, size in enumerate(sizes)))
    held = [[len(body) for body in batch.column("body").to_pylist()] for batch in made]
    assert [size for batch in held for size in batch] == sizes
    assert all(len(batch) <= 4 and (sum(batch) <= 50 or len(batch) == 1) for batch in held)
    assert all(len(one) == 4 or sum(one) + after[0] > 50 for one, after in itertools.pairwise(held))


def test_a_source_that_is_no_name_costs_its_page_and_keeps_no_text() -> None:
    (batch,) = batch_pages([Page("a", "s" * 201, b"text"), Page("b", "s" * 200, b"text")])
    long, short = batch.to_pylist()
    assert (long["source"], long["body"]) == ("s" * 200, b"")
    assert long["fault"] == "its source is longer than 200 characters"
    assert (short["source"], short["body"], short["fault"]) == ("s" * 200, b"text", "")


def test_lone_surrogates_are_written_as_question_marks() -> None:
    (batch,) = batch_pages([Page("\ud800ü", "s\udfff", b"x", "u\udc00", "d\udc00", "c\udc00", fault="f\udc00")])
    (row,) = batch.to_pylist()
    assert [row[name] for name in ("id", "source", "url", "added", "charset", "fault")] == [
        "?ü",
        "s?",
        "u?",
        "d?",
        "c?",
        "f?",
    ]


def test_a_page_that_failed_has_no_body_and_all_else() -> None:
    page = Page("a", "s", b"text", "u", "2024-03-01", "latin-1", html=False)
    failed = page.with_fault("why")
    assert failed == Page("a", "s", b"", "u", "2024-03-01", "latin-1", html=False, fault="why")
    assert page.with_body(b"more", "utf-8", html=True) == Page("a", "s", b"more", "u", "2024-03-01", "utf-8")
