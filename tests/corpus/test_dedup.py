"""Copies: MinHash meets as often as the formula says, and planted copies are found."""

from __future__ import annotations

import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from herd.core.records import Document, Drop, Keep
from herd.corpus.dedup import dedups
from herd.corpus.dedup.minhash import cluster, shingles, signature
from herd.world import noise


def documents(*texts: str) -> list[Document]:
    return [Document(id=str(n), text=text, source="a") for n, text in enumerate(texts)]


def kept(name: str, found: list[Document], **settings: object) -> list[str]:
    verdicts = dedups.make(dedups.use(name, **settings))(found)
    return [one.id for one, verdict in zip(found, verdicts, strict=True) if isinstance(verdict, Keep)]


@pytest.mark.row(10)
def test_pairs_meet_as_often_as_the_formula_says(figure) -> None:
    """Sets of a known similarity, many seeds: the share that meets against 1 - (1 - s^rows)^bands."""
    bands, rows, size = 14, 8, 120
    worst = 0.0
    for similarity in (0.5, 0.6, 0.7, 0.75, 0.8, 0.85, 0.9):
        shared = round(2 * size * similarity / (1 + similarity))
        met, trials = 0, 800
        for seed in range(trials):
            chance = np.random.default_rng(seed)
            drawn = chance.integers(0, 2**63, 2 * size - shared, dtype=np.uint64)
            pair = drawn[:size], drawn[size - shared :]
            signatures = np.stack([signature(one, bands * rows, seed) for one in pair])
            met += len(set(cluster(signatures, bands).tolist())) == 1
        exact = shared / (2 * size - shared)
        worst = max(worst, abs(met / trials - (1 - (1 - exact**rows) ** bands)))
    figure(f"largest distance from the curve {100 * worst:.1f} points")
    assert worst < 0.03 + 0.015  # three points, and what 800 trials leave to chance


def brute(a: str, b: str) -> float:
    left, right = (set(shingles(text, 5).tolist()) for text in (a, b))
    return len(left & right) / len(left | right)


@given(st.integers(0, 10**6))
def test_signatures_estimate_the_similarity_of_shingles(seed: int) -> None:
    chance = random.Random(seed)
    text = " ".join(chance.choice("alpha beta gamma delta kappa omega sigma tau".split()) + str(n) for n in range(150))
    other = noise.near_copy(" ".join(text.split()[:120]) + " more words at the end of it", chance)
    a, b = (signature(shingles(one, 5), 1000, 1) for one in (text, other))
    assert abs(float((a == b).mean()) - brute(text, other)) < 0.08


@pytest.mark.row(9)
def test_planted_copies_are_found_and_others_stay(figure) -> None:
    chance = random.Random(0)
    words = [f"word{n}" for n in range(3000)]
    originals = [" ".join(chance.choices(words, k=200)) for _ in range(300)]
    copies = [noise.near_copy(text, chance) for text in originals[:100]]
    mixed = documents(*originals, *(f"{copy} and" for copy in copies))
    left = kept("minhash", mixed)
    recall = sum(str(300 + n) not in left for n in range(100)) / 100
    lost = sum(str(n) not in left for n in range(300)) / 300
    figure(f"recall {recall:.0%}, {lost:.1%} of others removed")
    assert recall >= 0.98
    assert lost <= 0.005


def test_of_a_cluster_the_first_stays_and_chains_are_one_cluster() -> None:
    text = " ".join(f"w{n}" for n in range(100))
    assert kept("minhash", documents(text, text.upper(), f"{text}!", "something else entirely")) == ["0", "3"]


def test_empty_and_short_texts_are_no_trouble() -> None:
    assert kept("minhash", documents("", "a", "b", "a")) == ["0", "1", "2"]


def test_the_newest_version_of_an_address_stays() -> None:
    rows = [
        ("https://www.a.example/x/", "2024-01-01"),
        ("http://A.example/x#top", "2024-03-01"),
        ("https://a.example/y", "2023-01-01"),
        ("", ""),
        ("", ""),
    ]
    found = [Document(id=str(n), text="t", source="a", url=url, added=day) for n, (url, day) in enumerate(rows)]
    assert kept("newest_by_url", found) == ["1", "2", "3", "4"]
    (first, *_) = dedups.make(dedups.use("newest_by_url"))(found)
    assert first == Drop("older version of https://www.a.example/x/")
