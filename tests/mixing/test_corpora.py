"""Corpora are ranked by what models learn from them, and the order is held against labels."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from herd.core.errors import DataError
from herd.mixing.corpora import rank_corpora, relation
from herd.mixing.results import CorpusScore

# Nats of right answers by corpus, one a seed.
NATS = {"random": (2.0, 2.1), "rules": (1.8, 1.9), "model": (1.0, 1.2), "copies": (2.1, 1.1), "all": (1.5, 1.6)}
LABELS = {"random": 0.5, "rules": 0.7, "model": 0.6, "copies": 0.5, "all": 0.8}


def trials(nats: dict[str, tuple[float, ...]] = NATS) -> list[CorpusScore]:
    return [
        CorpusScore(label, seed, {}, 10, 10, (), losses={"web": 3 - one}, answers={"sums": one}, flops=1.0)
        for label, some in nats.items()
        for seed, one in enumerate(some)
    ]


@pytest.mark.row(21)
def test_both_ranks_of_five_filters_are_told(figure: Callable[[str], None]) -> None:
    rows = rank_corpora(trials(), control="random")
    assert [row.label for row in rows] == ["model", "all", "copies", "rules", "random"]
    assert [row.best for row in rows] == [1, 0, 1, 0, 0]
    best = rows[0]
    assert best.gain.value == pytest.approx(0.95)
    assert best.gain.low < best.gain.value < best.gain.high
    assert best.gain_in_text.value == pytest.approx(-0.95)
    correlation, by_chance = relation([row.answers.value for row in rows], [LABELS[row.label] for row in rows])
    # Ranks of what was learnt 5 4 3 2 1, of agreement 3 5 1.5 4 1.5.
    assert correlation == pytest.approx(0.4104, abs=1e-3)
    assert 0.3 < by_chance < 0.7
    figure(f"planted: rank correlation {correlation:+.2f}, by chance {by_chance:.0%}")


def test_agreement_that_goes_with_learning_is_told_from_chance() -> None:
    nats = [1.0, 1.1, 1.2, 1.3, 1.4, 1.5, 1.6]
    assert relation(nats, [0.9, 0.8, 0.75, 0.7, 0.65, 0.6, 0.5])[0] == pytest.approx(1.0)
    assert relation(nats, [0.9, 0.8, 0.75, 0.7, 0.65, 0.6, 0.5])[1] < 0.01
    assert relation(nats, [0.5, 0.9, 0.6, 0.8, 0.65, 0.7, 0.75])[1] > 0.2


@pytest.mark.parametrize(
    ("given", "control", "words"),
    [
        ({"a": (1.0,), "b": (2.0,)}, "c", "no corpus is called 'c'"),
        ({"a": (1.0, 2.0), "b": (2.0,)}, "a", "other seeds"),
    ],
)
def test_corpora_that_cannot_be_compared(given: dict[str, tuple[float, ...]], control: str, words: str) -> None:
    with pytest.raises(DataError, match=words):
        rank_corpora(trials(given), control=control)


def test_two_corpora_have_no_order() -> None:
    with pytest.raises(DataError, match="try five or more"):
        relation([1.0, 2.0], [0.5, 0.6])
