"""A few steps of training on made-up text, in a process of their own: what all of them will take on this machine."""

from __future__ import annotations

import multiprocessing
import os
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from herd.core.places import LocalPlace
from herd.model.devices import best_device
from herd.model.sizes import Shape, Size
from herd.model.transformer import Transformer, initialize
from herd.tokens.shards import SPLITS, Shards, ShardWriter, id_type, write_index
from herd.train.alone import Alone
from herd.train.batches import TokenBatches
from herd.train.checkpoint import TrainState
from herd.train.loop import steps
from herd.train.objectives import next_token
from herd.train.optimizer import AdamWSettings, adamw
from herd.train.schedule import BatchPhase, BatchRamp, MixPhase
from herd.train.speed import Quick, SpeedSettings

_SECONDS, _LEAST, _WARM = 2.0, 6, 3
_DOCUMENTS, _DOCUMENT = 2_000, 128  # made-up documents, and their mean length in tokens: about a paragraph
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
    """What a step takes, in core-seconds (on a GPU in seconds), and what model, optimizer and steps hold, in bytes."""

    core_seconds: float
    held_bytes: int


def rehearse(asked: Sequence[Rehearsal], jobs: int) -> list[Pace]:
    """The pace of each, in processes of their own, as many side by side as a run would have stages."""
    # As in a run's workers; read when torch is first imported, which is in those processes.
    os.environ.update(OMP_NUM_THREADS="1", MKL_NUM_THREADS="1", TOKENIZERS_PARALLELISM="false")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__])
    with ProcessPoolExecutor(max(1, jobs), mp_context=context, max_tasks_per_child=1) as pool:
        return list(pool.map(pace, asked))


def pace(asked: Rehearsal) -> Pace:
    """Measured here and now, on one thread of a CPU or on the GPU there is."""
    # What the first steps of a process set up, such as threads, is not the model's.
    _tried(replace(asked, shape=_SMALL, length=_SMALL.context, rows=2), seconds=0.0)
    return _tried(asked, seconds=_SECONDS)


def _tried(asked: Rehearsal, *, seconds: float) -> Pace:
    model = Transformer(asked.shape)
    initialize(model, std=0.02, layers=asked.shape.layers, generator=torch.Generator().manual_seed(0))
    model.to(device := best_device())
    hands = Alone(model, LocalPlace(), Quick(model, asked.speed))
    state = TrainState(model, adamw(model, asked.optimizer))
    clock = time.perf_counter if device.type == "cuda" else time.process_time
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
        began, number, held = clock(), 0, 0
        for step in going:
            number, held = step.number, step.held_bytes
            if number == _WARM:
                began = clock()
            if number >= _WARM + _LEAST and clock() - began > seconds:
                break
        taken = (clock() - began) / (number - _WARM)
    hands.close()
    return Pace(taken, held)


def _batches(folder: Path, asked: Rehearsal) -> TokenBatches:
    """Batches of made-up documents, more than will be asked for."""
    chance, vocabulary = np.random.default_rng(0), asked.shape.vocabulary
    index: dict[str, dict[str, int]] = {}
    for split, count in zip(SPLITS, (_DOCUMENTS, 1), strict=True):
        writer = ShardWriter(folder, f"{_SOURCE}.{split}", id_type(vocabulary))
        for length in np.clip(chance.exponential(_DOCUMENT, count), 8, 8 * _DOCUMENT).astype(int):
            writer.add(chance.integers(vocabulary, size=length).tolist(), int(length))
        index[split] = writer.close()
    write_index(folder, vocabulary, 0, {_SOURCE: index})
    batch = asked.rows * asked.length
    ramp = BatchRamp((BatchPhase(until=1.0, batch_tokens=batch),), 1_000_000 * batch, asked.length)
    mix = (MixPhase(until=1.0, shares={_SOURCE: 1.0}),)
    return TokenBatches(Shards(folder), mix, ramp, seed=0, pad=0)
