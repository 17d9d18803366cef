"""Documents beside examples: as many of each source as asked, none twice before all were read, whole but for rows."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from herd.core.errors import DataError, SettingsError
from herd.tokens.shards import ShardWriter, TokenShards, write_index
from herd.train.replay import ReplaySampler, ReplaySettings

LENGTH = 16


def numbered(folder: Path, sizes: dict[str, list[int]]) -> TokenShards:
    """Documents whose ids are all different within a source; those held out have the highest ids."""
    index: dict[str, dict[str, dict[str, int]]] = {}
    for name, lengths in sizes.items():
        index[name] = {}
        for split, start in (("train", 0), ("heldout", 30_000)):
            writer = ShardWriter(folder, f"{name}.{split}", np.dtype(np.uint16))
            for length in lengths:
                writer.add(list(range(start, start + length)), length)
                start += length
            index[name][split] = writer.close()
    write_index(folder, 60_000, 0, index)
    return TokenShards(folder)


def sampler(shards: TokenShards, share: float, seed: int = 0, **weights: float) -> ReplaySampler:
    return ReplaySampler(shards, ReplaySettings(share=share, mixture_weights=weights), length=LENGTH, seed=seed)


def inputs_of(replay: ReplaySampler, example_tokens: int) -> list[tuple[str, NDArray[np.integer]]]:
    """The pieces drawn, each with its source; every target is the id behind its input."""
    pieces = []
    for name, (inputs, targets) in replay.draw(example_tokens):
        assert (targets == inputs + 1).all()
        assert len(inputs) <= LENGTH
        pieces.append((name, inputs))
    return pieces


def test_sources_have_their_shares_of_all_that_is_read_at_any_time(tmp_path: Path) -> None:
    replay = sampler(numbered(tmp_path, {"a": [9] * 300, "b": [40] * 100, "c": [5]}), 0.2, a=0.25, b=0.75, c=0.0)
    drawn: Counter[str] = Counter()
    for epoch in range(1, 8):
        for name, inputs in inputs_of(replay, 1001):
            drawn[name] += len(inputs)
        tokens = 1001 * epoch * 0.2 / 0.8
        for name, weight in (("a", 0.25), ("b", 0.75)):
            assert abs(drawn[name] - tokens * weight) <= LENGTH / 2
    assert set(drawn) == set(replay.epochs()) == {"a", "b"}


def test_every_training_document_is_drawn_once_before_any_is_drawn_again(tmp_path: Path) -> None:
    sizes = [3, 9, 33, 50, 17, 1, 2] * 6
    replay = sampler(numbered(tmp_path, {"a": sizes}), 0.5, a=1.0)
    per_epoch = sum(size - 1 for size in sizes)
    passes: list[list[int]] = []
    for epoch in range(3):
        drawn: list[int] = []
        while len(drawn) < per_epoch:
            assert replay.epochs() == {"a": epoch}
            for _, inputs in inputs_of(replay, min(LENGTH, per_epoch - len(drawn))):
                drawn += inputs.tolist()
        passes.append(drawn)
    assert replay.epochs() == {"a": 3}
    ends = np.cumsum(sizes) - 1  # a document's last id is a target only, and none of those held out is there
    wanted = sorted(set(range(sum(sizes))) - set(ends.tolist()))
    assert [sorted(drawn) for drawn in passes] == [wanted] * 3
    assert passes[0] != passes[1] != passes[2]


def test_a_seed_draws_the_same_and_another_seed_others(tmp_path: Path) -> None:
    shards = numbered(tmp_path, {"a": [12] * 400})
    first, again, other = (
        [inputs.tolist() for _, inputs in inputs_of(sampler(shards, 0.5, seed, a=1.0), 500)] for seed in (0, 0, 1)
    )
    assert first == again != other


def test_what_cannot_be_replayed_is_refused(tmp_path: Path) -> None:
    shards = numbered(tmp_path, {"facts": [9, 9], "empty": [1]})
    with pytest.raises(SettingsError, match="names 'fact', which the tokens lack; did you mean 'facts'"):
        sampler(shards, 0.1, fact=1.0)
    with pytest.raises(DataError, match="'empty' holds no documents"):
        sampler(shards, 0.1, empty=1.0)
    for share in (0.0, 1.0):
        with pytest.raises(SettingsError, match=f"share is {share:g}; set it above 0 and below 1"):
            sampler(shards, share, facts=1.0)
    with pytest.raises(SettingsError, match="sum to 0.7"):
        sampler(shards, 0.1, facts=0.5, empty=0.2)
