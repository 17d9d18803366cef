"""A few steps of training on made-up text, in a process of their own: what all of them will take on this machine."""

from __future__ import annotations

import multiprocessing
import os
import statistics
import tempfile
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from herd.core.places import LocalPlace
from herd.core.processes import peak_bytes
from herd.model.devices import best_device
from herd.model.sizes import Shape, Size
from herd.model.transformer import Transformer, initialize
from herd.tokens.shards import SPLITS, Shards, ShardWriter, id_type, write_index
from herd.train.alone import Alone
from herd.train.batches import TokenBatches
from herd.train.checkpoint import TrainState
from herd.train.log import WARM, Step
from herd.train.loop import steps
from herd.train.objectives import next_token
from herd.train.optimizer import AdamWSettings, adamw
from herd.train.pieces import local
from herd.train.schedule import BatchPhase, BatchRamp, MixPhase
from herd.train.speed import Quick, SpeedSettings

_SECONDS, _LEAST = 1.5, 6
_TOKENS, _PARAGRAPH = 300_000, 128  # of made-up text; its documents are half a row long on average, or a paragraph
_SOURCE = "made up"
_SMALL = Size(width=8, layers=1, heads=1, kv_heads=1, hidden=16).shape(vocabulary=64, context=16)


@dataclass(frozen=True)
class Rehearsal:
    """Steps to be tried: `rows` of `length` tokens in a batch."""

    shape: Shape
    length: int
    rows: int
    optimizer: AdamWSettings
    speed: SpeedSettings


@dataclass(frozen=True)
class Pace:
    """What a step takes by the clock and of processors, and what model, optimizer and steps hold. copied_bytes: what a
    checkpoint holds besides while it is written. peak_bytes: the most the whole process had, Python and PyTorch
    included."""

    seconds: float
    core_seconds: float
    held_bytes: float
    copied_bytes: float = 0.0
    peak_bytes: float = 0.0

    @classmethod
    def mean(cls, paces: Sequence[Pace], counts: Sequence[int]) -> Pace:
        """Of so many steps of each; they hold what the largest does."""
        total = max(1, sum(counts))
        seconds, worked = (
            sum(getattr(pace, name) * count for pace, count in zip(paces, counts, strict=True)) / total
            for name in ("seconds", "core_seconds")
        )
        most = [max(getattr(pace, name) for pace in paces) for name in ("held_bytes", "copied_bytes", "peak_bytes")]
        return cls(seconds, worked, *most)


def rehearse(asked: Sequence[Rehearsal], *, threads: int = 1, at_once: int = 1) -> list[Pace]:
    """The pace of each on so many threads, in processes of their own, so many side by side."""
    # As in a run's workers; read when torch is first imported, which is in those processes.
    os.environ.update(OMP_NUM_THREADS="1", MKL_NUM_THREADS="1", TOKENIZERS_PARALLELISM="false")
    # Begun anew as a run's workers are: what a fork has in common with its parent would not count as its own.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(at_once, mp_context=context, max_tasks_per_child=1) as pool:
        return list(pool.map(pace, asked, [threads] * len(asked)))


def pace(asked: Rehearsal, threads: int) -> Pace:
    """Measured here and now, on a CPU or on the GPU there is."""
    # What the first steps of a process set up, such as threads, a training holds too: it begins in a new process.
    set_up = _tried(replace(asked, shape=_SMALL, length=_SMALL.context, rows=2), threads, seconds=0.0)
    found = _tried(asked, threads, seconds=_SECONDS)
    held = found.held_bytes + (set_up.held_bytes if best_device().type == "cpu" else 0)
    return replace(found, held_bytes=held, peak_bytes=peak_bytes())


def _tried(asked: Rehearsal, threads: int, *, seconds: float) -> Pace:
    model = Transformer(asked.shape)
    initialize(model, std=0.02, layers=asked.shape.layers, generator=torch.Generator().manual_seed(0))
    model.to(best_device())
    hands = Alone(model, LocalPlace(lambda: threads), Quick(model, asked.speed))
    state = TrainState(model, adamw(model, asked.optimizer))
    taken: list[Step] = []
    with tempfile.TemporaryDirectory() as folder:
        going = steps(
            state,
            _batches(Path(folder), asked),
            loss=next_token,
            rate=lambda step: 0.0,
            clip=asked.optimizer.clip,
            hands=hands,
            micro_rows=asked.speed.micro_rows,
        )
        for step in going:
            taken.append(step)
            if len(taken) >= WARM + _LEAST and sum(one.seconds for one in taken[WARM:]) > seconds:
                break
    hands.close()
    seconds, worked = (
        statistics.median(getattr(one, name) for one in taken[WARM:]) for name in ("seconds", "core_seconds")
    )
    copied = sum(local(tensor).nbytes for _, tensor in state.items()) if best_device().type == "cpu" else 0
    return Pace(seconds, worked, max(one.held_bytes for one in taken), copied)


def _batches(folder: Path, asked: Rehearsal) -> TokenBatches:
    """Batches of made-up documents, more than will be asked for."""
    chance, vocabulary = np.random.default_rng(0), asked.shape.vocabulary
    index: dict[str, dict[str, int]] = {}
    mean = max(_PARAGRAPH, asked.length // 2)
    for split, count in zip(SPLITS, (_TOKENS // mean, 1), strict=True):
        writer = ShardWriter(folder, f"{_SOURCE}.{split}", id_type(vocabulary))
        for length in np.clip(chance.exponential(mean, count), 8, 8 * mean).astype(int):
            writer.add(chance.integers(vocabulary, size=length).tolist(), int(length))
        index[split] = writer.close()
    write_index(folder, vocabulary, 0, {_SOURCE: index})
    batch = asked.rows * asked.length
    ramp = BatchRamp((BatchPhase(until=1.0, batch_tokens=batch),), 1_000_000 * batch, asked.length)
    mix = (MixPhase(until=1.0, shares={_SOURCE: 1.0}),)
    return TokenBatches(Shards(folder), mix, ramp, seed=0, pad=0)
