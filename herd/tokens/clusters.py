"""Vectors of length 1 that are close together: clusters of them, and of those alike the first."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from herd.tokens.embeddings import Vectors

_ROUNDS = 20
_BLOCK = 2_000  # similarities computed at once


def centres_of(sample: Vectors, count: int, rng: np.random.Generator) -> Vectors:
    """Centres of at most `count` clusters by k-means on the sphere: [count, E], each of length 1."""
    centres = sample[rng.choice(len(sample), min(count, len(sample)), replace=False)]
    for _ in range(_ROUNDS):
        nearest = nearest_of(sample, centres)
        sums = np.zeros_like(centres)
        np.add.at(sums, nearest, sample)
        lengths = np.linalg.norm(sums, axis=1, keepdims=True)
        # A centre that nobody is near to stays where it is.
        moved = np.where(lengths > 0, sums / np.maximum(lengths, 1e-9), centres).astype(np.float32)
        if np.allclose(moved, centres, atol=1e-5):
            break
        centres = moved
    return centres


def nearest_of(vectors: Vectors, centres: Vectors) -> NDArray[np.int64]:
    """The nearest centre of every vector, by number: [N]."""
    blocks = [np.argmax(vectors[at : at + _BLOCK] @ centres.T, axis=1) for at in range(0, len(vectors), _BLOCK)]
    return np.concatenate(blocks) if blocks else np.empty(0, np.int64)


@dataclass(frozen=True)
class Distinct:
    """keep_mask: whether a vector is kept. duplicate_of: of one that is not, the kept one it is most like, else -1.
    closest: the similarity to the nearest kept one before it, -1 for the first. Each [N]."""

    keep_mask: NDArray[np.bool_]
    duplicate_of: NDArray[np.int64]
    closest: NDArray[np.float64]


def distinct(vectors: Vectors, similarity: float) -> Distinct:
    """In the order given, each vector whose cosine similarity to every kept one before it is at most `similarity`."""
    duplicate_of, closest = np.full(len(vectors), -1, np.int64), np.full(len(vectors), -1.0)
    keep_mask = np.ones(len(vectors), np.bool_)
    for start in range(0, len(vectors), _BLOCK):
        block = vectors[start : start + _BLOCK]
        alike = block @ vectors[: start + len(block)].T
        for row in range(len(block)):
            before = alike[row, : start + row]
            # Similar to one that goes itself is no reason to go: its kept one is compared with too.
            similarities = np.where(keep_mask[: start + row], before, -1.0)
            if len(similarities) and similarities.max() > -1.0:
                closest[start + row] = similarities.max()
                if similarities.max() > similarity:
                    keep_mask[start + row] = False
                    duplicate_of[start + row] = int(similarities.argmax())
    return Distinct(keep_mask, duplicate_of, closest)
