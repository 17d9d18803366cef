"""Sources whose relations are known: token ids of small random languages, on disk as shards."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from herd.mixing.problem import MixProblem, ProxySettings
from herd.model.sizes import Size
from herd.run.executors import LocalExecutor
from herd.tokens.shards import SPLITS, ShardWriter, TokenShards, id_dtype, write_index

VOCABULARY, PAD = 64, 63
Draw = Callable[[np.random.Generator, int], np.ndarray]


def language(seed: int, choices: int = 3, first: int = 0, size: int = 60) -> Draw:
    """Every token is followed by one of a few others, of `size` tokens from `first` on."""
    table = np.random.default_rng(seed).integers(first, first + size, (VOCABULARY, choices))

    def draw(chance: np.random.Generator, length: int) -> np.ndarray:
        ids = [int(chance.integers(first, first + size))]
        for pick in chance.integers(0, choices, length - 1):
            ids.append(int(table[ids[-1], pick]))
        return np.array(ids)

    return draw


def noise(chance: np.random.Generator, length: int) -> np.ndarray:
    """Nothing to be learnt."""
    return chance.integers(0, 60, length)


def planted(
    folder: Path, sources: dict[str, Draw], *, documents: int = 150, seed: int = 0, length: int = 65
) -> TokenShards:
    """Shards with so many documents of each source, a tenth as many held out."""
    folder.mkdir(parents=True, exist_ok=True)
    dtype, index = id_dtype(VOCABULARY), {}
    for number, (name, draw) in enumerate(sources.items()):
        chance = np.random.default_rng((seed, number))
        index[name] = {}
        for split, count in zip(SPLITS, (documents, max(4, documents // 10)), strict=True):
            writer = ShardWriter(folder, f"{name}.{split}", dtype)
            for _ in range(count):
                writer.add(draw(chance, length).tolist(), 2 * length)
            index[name][split] = writer.close()
    write_index(folder, VOCABULARY, PAD, index)
    return TokenShards(folder)


SMALL = Size(dim=16, n_layers=1, n_heads=2, n_kv_heads=1, ffn_dim=32)


def run(tokens: int = 60 * 64 * 8, size: Size = SMALL, rate: float = 1e-2, rows: int = 8) -> ProxySettings:
    return ProxySettings(size=size, length=64, tokens=tokens, batch_tokens=64 * rows, lr=rate)


def field(
    shards: TokenShards, sources: tuple[str, ...] = (), *, seed: int = 0, proxy: ProxySettings | None = None
) -> MixProblem:
    place = LocalExecutor(lambda: 1)
    return MixProblem(shards, sources or tuple(shards.sources), proxy or run(), seed, place, eval_tokens=1024)
