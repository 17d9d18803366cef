"""What is measured of a text is what Python counts in it, alone or beside others."""

from __future__ import annotations

import re
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from herd.corpus.kernels import pack_texts
from herd.corpus.language import Languages
from herd.corpus.stats import EDIT_STATS, STAT_NAMES, TEXT_STATS, Stats, compute_stats

PIECES = (
    "a",
    "Word",
    "DONE",
    "x1",
    "7",
    " ",
    "  ",
    "\n",
    "\n\n",
    "#",
    "...",
    "…",
    "{",
    ".",
    "!",
    "ü",
    "Ä",
    "- ",
    "• ",
    "the",
    "y" * 33,
)
TEXT = st.lists(st.sampled_from(PIECES), max_size=30).map("".join)
ENGLISH = Languages(np.array(["en"]), np.ones(1))


def measured(text: str) -> Stats:
    return compute_stats([text], ENGLISH)


@given(TEXT | st.text(st.characters(max_codepoint=0x33FF, exclude_categories=["Cs"]), max_size=40))
def test_characters_are_counted_as_python_counts_them(text: str) -> None:
    stats = measured(text)
    assert stats.characters[0] == len(text)
    assert stats.text_bytes[0] == len(text.encode())
    assert stats.newlines[0] == text.count("\n")
    assert stats.hashes[0] == text.count("#")
    assert stats.braces[0] == text.count("{")
    assert stats.digits[0] == sum(one in "0123456789" for one in text)
    assert stats.uppercase[0] == sum("A" <= one <= "Z" for one in text)


@given(TEXT)
def test_lines_are_counted_as_python_counts_them(text: str) -> None:
    """Blank at its end and all, as FineWeb's code counts."""
    stats, lines = measured(text), [line for line in text.split("\n") if line.strip()]
    assert stats.lines[0] == len(lines)
    assert stats.short_lines[0] == sum(len(line) <= 30 for line in lines)
    assert stats.long_lines[0] == sum(len(line) >= 200 for line in lines)
    assert stats.punctuated_lines[0] == sum(line.endswith((".", "!")) for line in lines)


@given(TEXT)
def test_lines_and_paragraphs_that_stood_before_are_repeated(text: str) -> None:
    """Cut as datatrove cuts for Gopher's rules of repetition."""
    stats = measured(text)
    lines, paragraphs = re.split(r"\n+", text), re.split(r"\n{2,}", text.strip())
    for pieces, parts, repeated, held in (
        (lines, stats.split_lines, stats.repeated_lines, stats.repeated_line_characters),
        (paragraphs, stats.paragraphs, stats.repeated_paragraphs, stats.repeated_paragraph_characters),
    ):
        again = [piece for piece, count in Counter(pieces).items() for _ in range(count - 1)]
        assert (parts[0], repeated[0]) == (len(pieces), len(again))
        assert held[0] == sum(map(len, again))


@given(st.lists(TEXT, max_size=5))
def test_a_text_is_measured_alike_alone_and_beside_others(texts: list[str]) -> None:
    together = compute_stats(pack_texts(texts))
    assert len(together) == len(texts)
    for row, text in enumerate(texts):
        alone = compute_stats([text])
        assert {name: values[row] for name, values in together.columns().items()} == {
            name: values[0] for name, values in alone.columns().items()
        }
        assert together.language[row] == alone.language[0]


@pytest.mark.parametrize(
    ("text", "counts"),
    [
        (
            "It's done, BUY it.",
            {"words": 7, "plain_words": 5, "alpha_words": 5, "uppercase_words": 1, "longest_word": 4},
        ),
        ("- a\n\n• b\nc...", {"all_lines": 4, "bullet_lines": 2, "ellipsis_lines": 1, "ellipses": 1}),
        ("the cat and the dog", {"stop_words": 2, "stop_word_uses": 3}),
        ("Lorem ipsum. lorem IPSUM", {"lorem": 1}),
        ("Ipsum lorem, lorem  ipsum", {"lorem": 0}),
        ("One. Two! Three?", {"sentences": 3}),
    ],
)
def test_words_of_a_known_text(text: str, counts: dict[str, float]) -> None:
    stats = measured(text)
    assert {name: getattr(stats, name)[0] for name in counts} == counts


@pytest.mark.parametrize(
    ("line", "is_code"),
    [
        ("    return x", True),
        ("for (int i = 0; i < n; ++i) {", True),
        ("}", True),
        (">>> sorted(d.items())", True),
        ("#include <vector>", True),
        ("SELECT name FROM users WHERE id = 3;", True),
        ("The function f returns nothing; see below.", False),
        ("For example, call print() when it is over and nobody looks.", False),
        ("    An indented paragraph of prose without any sign.", False),
        ("- a bullet point (with a remark)", False),
        ("He said: 'no', and left.", False),
    ],
)
def test_lines_that_look_like_program_text(line: str, is_code: bool) -> None:
    assert compute_stats([line]).code_lines[0] == is_code


def test_formulas_and_signs_are_counted() -> None:
    text = r"$a$ and $b+c=2$, \(x\), \[y\], $$z$$ \begin{align*} q \end{align*}; but $5 or $6, \textbf{no}; ∀x ≤ 2²"
    stats = compute_stats([text])
    assert (stats.formulas[0], stats.mathematical_signs[0]) == (6, 3)


def test_stop_words_are_those_of_the_documents_language_or_of_english() -> None:
    text = "der Hund und die Katze"
    for code, uses in (("de", 3), ("fr", 0), ("und", 0), ("xx", 0)):
        assert compute_stats([text], Languages(np.array([code]), np.ones(1))).stop_word_uses[0] == uses
    assert compute_stats(["the cat and"], Languages(np.array(["und"]), np.ones(1))).stop_word_uses[0] == 2
    assert compute_stats(["the cat and"], Languages(np.array(["xx"]), np.ones(1))).stop_word_uses[0] == 0


def test_what_a_rule_took_out_stands_beside_what_was_measured() -> None:
    edits = np.arange(2.0 * len(EDIT_STATS)).reshape(2, -1)
    stats = compute_stats(["a b", "c"], Languages(np.array(["en", "de"]), np.array([0.25, 0.5])), edits)
    np.testing.assert_array_equal(np.stack([stats.columns()[name] for name in EDIT_STATS], axis=1), edits)
    assert (stats.language.tolist(), stats.language_score.tolist()) == (["en", "de"], [0.25, 0.5])
    assert (*TEXT_STATS, *EDIT_STATS, "language_score") == STAT_NAMES
    assert Stats.of(stats.columns(), stats.language).columns().keys() == set(STAT_NAMES)
