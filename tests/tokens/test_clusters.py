"""Clusters of vectors, and of those alike the first."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from herd.tokens import clusters
from herd.tokens.clusters import centres_of, distinct, nearest_of


def unit(count: int, width: int, seed: int) -> clusters.Vectors:
    vectors = np.random.default_rng(seed).normal(size=(count, width)).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def test_planted_clusters_are_found() -> None:
    planted = np.repeat(np.eye(4, 8, dtype=np.float32), 25, axis=0)
    vectors = planted + 0.05 * np.random.default_rng(0).normal(size=planted.shape).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    # K-means may begin with two centres in one cluster; of many beginnings the best finds all.
    best = max(
        (centres_of(vectors, 4, np.random.default_rng(seed)) for seed in range(20)),
        key=lambda centres: float((vectors @ centres.T).max(axis=1).sum()),
    )
    groups = nearest_of(vectors, best).reshape(4, 25)
    assert len(set(groups[:, 0])) == 4
    assert (groups == groups[:, :1]).all()
    assert np.allclose(np.linalg.norm(best, axis=1), 1, atol=1e-5)


@given(st.integers(1, 12), st.integers(1, 20), st.integers(0, 9))
def test_there_are_no_more_centres_than_vectors_and_each_is_nearest_to_its_own(
    count: int, many: int, seed: int
) -> None:
    vectors = unit(count, 3, seed)
    centres = centres_of(vectors, many, np.random.default_rng(seed))
    assert len(centres) == min(count, many)
    assert np.array_equal(nearest_of(vectors, centres), (vectors @ centres.T).argmax(axis=1))
    if many >= count:
        assert np.allclose((vectors @ centres.T).max(axis=1), 1, atol=1e-4)  # every vector is a centre


@given(st.integers(1, 5), st.integers(0, 20), st.floats(0.0, 0.99))
def test_blocks_change_nothing(block: int, count: int, similarity: float) -> None:
    vectors = unit(count, 3, count)
    wanted, centres = distinct(vectors, similarity), unit(2, 3, 0)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(clusters, "_BLOCK", block)
        found, nearest = distinct(vectors, similarity), nearest_of(vectors, centres)
    assert np.array_equal(found.keep_mask, wanted.keep_mask)
    assert np.array_equal(found.duplicate_of, wanted.duplicate_of)
    assert np.allclose(found.closest, wanted.closest, atol=1e-6)
    assert np.array_equal(nearest, nearest_of(vectors, centres))
    assert nearest.dtype == np.int64


def test_the_closest_kept_one_before_is_told() -> None:
    vectors = np.array([[1, 0], [0.8, 0.6], [0, 1], [0.6, 0.8]], np.float32)
    found = distinct(vectors, 0.9)
    assert found.closest.tolist() == pytest.approx([-1, 0.8, 0.6, 0.96])
    assert found.duplicate_of.tolist() == [-1, -1, -1, 1]


def test_of_vectors_alike_the_first_stays() -> None:
    vectors = np.eye(4, dtype=np.float32)[[0, 1, 0, 2, 1]]
    vectors[2] = [0.9, 0.43589, 0, 0]
    found = distinct(vectors, 0.85)
    assert found.keep_mask.tolist() == [True, True, False, True, False]
    assert found.duplicate_of.tolist() == [-1, -1, 0, -1, 1]
    assert distinct(vectors, 0.95).keep_mask.tolist() == [True, True, True, True, False]


@given(st.integers(1, 40), st.floats(0.0, 0.99), st.integers(0, 100))
def test_what_stays_is_different_and_what_goes_is_like_what_stays(count: int, similarity: float, seed: int) -> None:
    chance = np.random.default_rng(seed)
    vectors = chance.normal(size=(count, 4)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    found = distinct(vectors, similarity)
    kept = vectors[found.keep_mask]
    alike = kept @ kept.T - 2 * np.eye(len(kept))
    assert alike.max(initial=-1) <= similarity + 1e-5
    for row in np.flatnonzero(~found.keep_mask):
        assert found.keep_mask[found.duplicate_of[row]]
        assert vectors[row] @ vectors[found.duplicate_of[row]] > similarity - 1e-5
    centres = centres_of(vectors, 3, chance)
    assert set(nearest_of(vectors, centres)) <= set(range(len(centres)))
