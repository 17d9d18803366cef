"""Documents that say the same in other words."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from herd.core.settings import PositiveInt, Share
from herd.corpus.dedup import dedups
from herd.corpus.shards import DedupResult, DocumentShard, DocumentShards, Removal, alive_texts
from herd.tokens.clusters import centres_of, distinct, nearest_of
from herd.tokens.embeddings import Vectors, embed

_SAMPLE = 50_000  # documents that the centres are found from
_HISTOGRAM = (0.5, 0.6, 0.7, 0.8, 0.85, 0.9, 0.95)


@dedups.add
def semantic(
    shards: DocumentShards,
    *,
    similarity: Share = 0.95,
    per_cluster: PositiveInt = 1_000,
    keep: Literal["far", "near", "first"] = "far",
    seed: int = 0,
) -> DedupResult:
    """Drops documents whose cosine similarity to a kept one of their cluster is above `similarity`.

    Documents are clustered by k-means on the sphere, about `per_cluster` in each, so that only those of a
    cluster are compared. keep: of documents alike the one farthest from the cluster's centre stays, the nearest
    one, or the first.
    Source: Abbas et al. 2023 (SemDeDup), 3, who found `far` best and tuned the threshold to a target size.
    """
    counts = shards.map(_embed, "semantic")
    folder = shards.folder / "semantic"
    total = sum(counts)
    centres = _centres(folder, len(counts), max(1, round(total / per_cluster)), seed)
    np.save(folder / "centres.npy", centres)
    of_cluster: dict[int, list[tuple[int, NDArray[np.int64]]]] = {}
    for number, clusters in enumerate(shards.map(_assign, "semantic")):
        for cluster in np.unique(clusters).tolist():
            of_cluster.setdefault(cluster, []).append((number, np.flatnonzero(clusters == cluster)))
    kernel = partial(_near_duplicates, folder=folder, similarity=similarity, keep=keep)
    removed, survivors, nearest = [np.empty(0, np.int64)], [np.empty(0, np.int64)], [np.empty(0)]
    for rows, cluster_survivors, closest in shards.reduce(kernel, sorted(of_cluster.items())):
        removed.append(rows)
        survivors.append(cluster_survivors)
        nearest.append(closest)
    closest = np.concatenate(nearest)
    rows = np.concatenate(removed)
    stats = {
        "clusters": len(centres),
        "largest cluster": max((_cluster_size(members) for members in of_cluster.values()), default=0),
        "documents whose nearest is above": {str(edge): int((closest > edge).sum()) for edge in _HISTOGRAM},
    }
    return DedupResult([Removal(rows, "says what {kept} says", np.concatenate(survivors))], stats)


def _cluster_size(members: list[tuple[int, NDArray[np.int64]]]) -> int:
    """Documents in a cluster; members: rows by shard."""
    return sum(len(rows) for _, rows in members)


def _embed(shard: DocumentShard) -> int:
    """Writes a vector and the number of every document that is left; returns how many there are."""
    vectors, numbers = [np.empty((0, 256), np.float32)], [np.empty(0, np.int64)]
    for rows, texts in alive_texts(shard):
        vectors.append(embed(texts.to_pylist()))
        numbers.append(rows)
    np.save(shard.folder / f"{shard.name}.vectors.npy", np.concatenate(vectors).astype(np.float16))
    np.save(shard.folder / f"{shard.name}.numbers.npy", np.concatenate(numbers))
    return sum(len(rows) for rows in numbers)


def _vectors(folder: Path, shard: int) -> NDArray[np.float16]:
    return np.load(folder / f"{shard:05}.vectors.npy", mmap_mode="r")


def _centres(folder: Path, num_shards: int, count: int, seed: int) -> Vectors:
    """Centres of `count` clusters by k-means on a sample: [count, 256], each of length 1."""
    rng = np.random.default_rng(seed)
    sizes = [len(_vectors(folder, shard)) for shard in range(num_shards)]
    share = min(1.0, max(_SAMPLE, 40 * count) / max(1, sum(sizes)))
    samples = [
        np.asarray(_vectors(folder, shard)[np.sort(rng.choice(size, round(share * size), replace=False))])
        for shard, size in enumerate(sizes)
        if round(share * size)
    ]
    if not samples:
        return np.zeros((1, 256), np.float32)
    sample = np.concatenate(samples).astype(np.float32)
    return centres_of(sample, count, rng)


def _assign(shard: DocumentShard) -> NDArray[np.int64]:
    return nearest_of(_vectors(shard.folder, shard.number).astype(np.float32), np.load(shard.folder / "centres.npy"))


def _near_duplicates(
    cluster: tuple[int, list[tuple[int, NDArray[np.int64]]]], *, folder: Path, similarity: float, keep: str
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
    """Documents of a cluster that are dropped, for each the kept one it is most like, and for every document the
    similarity to the nearest one before it."""
    centre, members = cluster
    vectors = np.concatenate([np.asarray(_vectors(folder, shard)[own]) for shard, own in members]).astype(np.float32)
    numbers = np.concatenate(
        [np.load(folder / f"{shard:05}.numbers.npy", mmap_mode="r")[own] for shard, own in members]
    )
    to_centre = vectors @ np.load(folder / "centres.npy")[centre]
    order = np.argsort({"far": to_centre, "near": -to_centre, "first": numbers}[keep], kind="stable")
    numbers = numbers[order]
    distinct_vectors = distinct(vectors[order], similarity)
    removed = np.flatnonzero(~distinct_vectors.keep_mask)
    return numbers[removed], numbers[distinct_vectors.duplicate_of[removed]], distinct_vectors.closest
