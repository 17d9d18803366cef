"""A reason names the value that was measured and the limit, for every rule that a number decides."""

from __future__ import annotations

import numpy as np
import pyarrow as arrow
import pytest
from hypothesis import given
from hypothesis import strategies as st

from herd.corpus.filters import filters
from herd.corpus.kernels import pack_texts
from herd.corpus.language import READ_CHARACTERS, detect_languages
from herd.corpus.reasons import drop_reasons, stats_of_rows
from herd.corpus.stats import STAT_NAMES, Stats, compute_stats


def stats_of(*texts: str) -> Stats:
    packed = pack_texts(arrow.array(texts, arrow.large_string()))
    return compute_stats(packed, detect_languages(packed.heads(4 * READ_CHARACTERS)))


def zeros(count: int, **columns: list[float]) -> Stats:
    numbers = {name: np.array(columns.get(name, [0.0] * count), np.float64) for name in STAT_NAMES}
    return Stats.of(numbers, np.array(["en"] * count, dtype=np.str_))


def test_the_value_and_the_limit_are_those_of_the_text() -> None:
    short, long = "one two three four five", "word " * 60
    stats = stats_of(short, long)
    rule = filters.configure("word_count", at_most=59)
    assert filters.make(rule)(stats).all()
    assert drop_reasons(rule, stats, {}) == ["word_count 5, below 50", "word_count 60, above 59"]
    marks = stats_of("one # two # three")
    assert drop_reasons(filters.configure("symbols"), marks, {}) == ["symbols 0.4, above 0.1"]
    german = stats_of("Das ist ein Satz, der auf Deutsch geschrieben ist und nicht auf Englisch. " * 3)
    assert drop_reasons(filters.configure("language"), german, {}) == ["language de, not en"]


def test_a_language_has_its_own_limit_and_a_rule_of_two_faults_its_name_alone() -> None:
    stats = zeros(2, plain_words=[12.0, 30.0])
    stats.language[1] = "de"
    other = {"de": (filters.configure("word_count", at_least=40),)}
    told = drop_reasons(filters.configure("word_count"), stats, other)
    assert told == ["word_count 12, below 50", "word_count 30, below 40"]
    both = zeros(1, plain_words=[1000.0])
    assert drop_reasons(filters.configure("not_mathematics"), both, {}) == ["rule not_mathematics"]
    rare = zeros(1, plain_words=[10_000.0], formulas=[4.0])
    told = drop_reasons(filters.configure("not_mathematics"), rare, {})
    assert told == ["not_mathematics per_hundred_words 0.04, below 0.5"]


def test_a_value_close_to_its_limit_is_told_apart_from_it() -> None:
    stats = zeros(1, short_lines=[67_001.0], lines=[100_000.0])
    assert drop_reasons(filters.configure("short_lines"), stats, {}) == ["short_lines 0.67001, above 0.67"]


def test_a_rule_that_takes_no_column_in_the_place_of_a_number_is_named_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    def picky(stats: Stats, *, at_most: float = 1.0) -> np.ndarray:
        """Source: none."""
        return stats.words > (at_most if at_most > 0 else 1.0)

    monkeypatch.setitem(filters._plugins, "picky", picky)
    rule = filters.configure("picky")
    assert drop_reasons(rule, zeros(2, words=[3.0, 4.0]), {}) == ["rule picky"] * 2


@given(st.lists(st.integers(0, 10**6), min_size=1, max_size=8), st.integers(1, 1000), st.integers(1001, 10**5))
def test_the_value_is_the_one_that_was_measured(words: list[int], least: int, most: int) -> None:
    stats = zeros(len(words), plain_words=[float(count) for count in words])
    rule = filters.configure("word_count", at_least=least, at_most=most)
    rows = np.flatnonzero(filters.make(rule)(stats))
    told = drop_reasons(rule, stats_of_rows(stats, rows), {})
    wanted = [
        f"word_count {words[row]:,}, below {least:,}" if words[row] < least
        else f"word_count {words[row]:,}, above {most:,}"
        for row in rows.tolist()
    ]  # fmt: skip
    assert told == wanted
