"""What is dropped is counted by step, with a few examples, whoever counts and in however many parts."""

from __future__ import annotations

import pyarrow as arrow
from hypothesis import given
from hypothesis import strategies as st

from herd.corpus.tally import EXAMPLE_CHARACTERS, MAX_EXAMPLES, Tally


def batch(rows: list[tuple[str, str]]) -> arrow.RecordBatch:
    """Rejects called by their number: step and text."""
    columns = {
        "id": [str(number) for number in range(len(rows))],
        "source": [text[:1] for _, text in rows],
        "text": [text for _, text in rows],
        "step": [step for step, _ in rows],
        "reason": [f"by {step}" for step, _ in rows],
    }
    return arrow.record_batch({name: arrow.array(held, arrow.string()) for name, held in columns.items()})


ROWS = st.lists(st.tuples(st.sampled_from(["a", "b"]), st.text("xyz", max_size=3)), max_size=9)


@given(ROWS, ROWS)
def test_parts_added_up_are_the_whole(first: list[tuple[str, str]], second: list[tuple[str, str]]) -> None:
    whole, parts = Tally(), [Tally(), Tally()]
    for part, rows in zip(parts, (first, second), strict=True):
        whole.drop(batch(rows))
        part.drop(batch(rows))
    parts[0].add_drops(parts[1])
    assert parts[0] == whole
    assert whole.dropped.total() == len(first) + len(second)
    assert all(len(shown) == min(MAX_EXAMPLES, whole.dropped[step]) for step, shown in whole.examples.items())


def test_an_example_says_who_why_and_how_it_begins() -> None:
    tally = Tally()
    tally.drop(batch([("a", "ü" * 999)]))
    assert tally.examples == {"a": [{"id": "0", "reason": "by a", "text": "ü" * EXAMPLE_CHARACTERS}]}


def test_what_a_source_loses_is_counted_by_step_and_rows_by_their_fault() -> None:
    tally = Tally()
    rejects = batch([("a", "x"), ("a", "y"), ("b", "x"), ("read", "z"), ("read", "z")])
    faults = ["by a", "by a", "by b", "not JSON", "not JSON, or longer"]
    tally.drop(rejects.set_column(4, "reason", arrow.array(faults, arrow.string())))
    assert tally.lost == {"x": {"a": 1, "b": 1}, "y": {"a": 1}, "z": {"read": 2}}
    assert tally.first_lost == {"x": ["0", "by a"], "y": ["1", "by a"], "z": ["3", "not JSON"]}
    assert (tally.unread, tally.first_unread) == ({"not JSON": 2}, {"not JSON": "3"})


def test_so_many_sources_that_each_row_has_its_own_take_bounded_room() -> None:
    tally = Tally()
    for start in range(0, 3000, 500):
        rows = batch([("a", "x")] * 500)
        names = arrow.array([f"s{start + number}" for number in range(500)], arrow.string())
        tally.drop(rows.set_column(1, "source", names))
    assert len(tally.lost) == len(tally.first_lost) == 1_000
    assert tally.dropped["a"] == 3_000


def test_the_other_is_left_as_it_was() -> None:
    one, other = Tally(), Tally()
    other.drop(batch([("a", "x")]))
    one.add_drops(other)
    one.drop(batch([("a", "y")]))
    assert (one.dropped["a"], other.dropped["a"]) == (2, 1)
    assert (len(one.examples["a"]), len(other.examples["a"])) == (2, 1)
