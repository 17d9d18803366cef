"""What training takes of a device's memory, as arithmetic: no GPU is asked. What a block keeps is counted against
autograd's own saved tensors in the tests; what a GPU's allocator adds is not."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from herd.model.sizes import Shape
from herd.train.layout import ParallelLayout, TrainableParams, logit_rows, stage_layers

Recompute = bool | Literal["selective"]
DtypeName = Literal["fp32", "bf16"]

_BF16, _FP32 = 2, 4  # bytes
# A pipeline's schedule repeats itself after so many micro-batches a stage; more make its fullest moment no fuller.
_PERIODS = 3


@dataclass(frozen=True)
class DeviceMemory:
    """Bytes on the fullest device."""

    weights: float
    gradients: float
    optimizer: float
    activations: float
    logits: float

    @property
    def total(self) -> float:
        return self.weights + self.gradients + self.optimizer + self.activations + self.logits


def training_memory(
    shape: Shape, layout: ParallelLayout, *, length: int, micro_batches: int, rows: int = 1,
    trainable: TrainableParams | None = None, dtype: DtypeName = "bf16", recompute: Recompute = False,
    compiled: bool = True,
) -> DeviceMemory:  # fmt: skip
    """What training takes on the fullest device: `rows` sequences of `length` in a micro-batch, `micro_batches` of them
    a step. trainable: the weights that learn; when absent all do, by AdamW. recompute, compiled: as `ComputeSettings`
    has them.

    Weights stay whole over the data ranks during a step, in `dtype`; fp32 weights and optimizer states are divided over
    data and context ranks. So are gradients, in fp32, unless several micro-batches are added up: then they are whole
    until the last. Activations are divided over tensor ranks along the sequence; those of a pipeline's stages are
    counted as its schedule has them at its fullest. Logits: of the tokens they are made for at once.
    Source: Korthikanti et al. 2022, eq. 4, with SwiGLU's tensors and flash attention counted.
    """
    trainable = trainable or TrainableParams(shape.num_params)
    trained, moments = trainable.trained / shape.num_params, trainable.moments / shape.num_params
    shared = layout.data * layout.context
    tokens = rows * length / layout.context / layout.tensor
    kept = tokens * block_bytes(shape, dtype=dtype, recompute=recompute, compiled=compiled, sharded=shared > 1)
    # A block that is computed again is whole while its backward pass lasts.
    again = tokens * block_bytes(shape, dtype=dtype, compiled=compiled, sharded=shared > 1) if recompute else 0.0
    own_words = -(-shape.vocab_size // layout.tensor)
    working = _FP32 if dtype == "fp32" else _BF16
    whole = (1 + 1 / shared if shared > 1 else 2) if micro_batches > 1 else 1 / shared
    stages = []
    for stage, weights in enumerate(_stage_weights(shape, layout)):
        own = weights / layout.tensor
        last = stage == layout.pipeline - 1
        stages.append(
            DeviceMemory(
                weights=working * own,
                gradients=_FP32 * trained * own * whole,
                # The weights that are moved, which in fp32 on one device are those it works with.
                optimizer=_FP32 * ((dtype != "fp32" or shared > 1) + moments) * own / shared,
                activations=kept * _layers_alive(shape.n_layers, layout, micro_batches)[stage] + again,
                # Made once, and once more as their slopes.
                logits=2 * working * min(tokens * layout.tensor, logit_rows(own_words, "cuda")) * own_words * last,
            )
        )
    return max(stages, key=lambda device: device.total)


def block_bytes(
    shape: Shape, *, dtype: DtypeName = "bf16", recompute: Recompute = False, compiled: bool = True,
    sharded: bool = False,
) -> float:  # fmt: skip
    """Bytes a token that a block keeps for its backward pass.

    Compiled: inputs and outputs of both norms; queries, keys, values and what attention gives; three of hidden. Not
    compiled: a copy in bf16 for every product that reads a norm, one of attention's, and a fourth of hidden. Selective:
    the input and what products and attention gave; all: the input only. sharded: over ranks, which hold a block's input
    in `dtype`; one device holds it in fp32.
    """
    attention = 2 * (shape.n_heads + shape.n_kv_heads) * shape.head_dim
    size = _FP32 if dtype == "fp32" else _BF16
    start = shape.dim * (size if sharded else _FP32)
    if recompute == "selective":
        return start + size * (2 * shape.dim + attention + 2 * shape.ffn_dim)
    if recompute:
        return start
    values = 4 * shape.dim + attention + 3 * shape.ffn_dim
    if compiled and dtype == "bf16" and not sharded:
        values += shape.dim  # its input in fp32
    if not compiled:
        copies = 5 * shape.dim if dtype == "bf16" else 0
        values += copies + shape.n_heads * shape.head_dim + shape.ffn_dim
    return size * values


def _stage_weights(shape: Shape, layout: ParallelLayout) -> list[float]:
    """How many weights each stage of the pipeline holds, over all its tensor ranks."""
    if layout.pipeline == 1:
        return [shape.num_params]
    table = shape.vocab_size * shape.dim
    block = (shape.num_params - 2 * table - shape.dim) / shape.n_layers
    weights = [sum(map(len, chunks)) * block for chunks in stage_layers(shape.n_layers, layout)]
    weights[0] += table
    weights[-1] += table + shape.dim
    return weights


@functools.cache
def _alive(chunk_layers: tuple[int, ...], pipeline: int, stage: int, micro_batches: int) -> int:
    """The most layers of a stage whose activations are kept at once, counted once a micro-batch."""
    chunks = len(chunk_layers)
    total = chunks * micro_batches
    in_round = micro_batches // max(1, micro_batches // pipeline)

    def chunk(number: int) -> int:
        return number // in_round % chunks

    ahead = 2 * (pipeline - stage - 1) + (chunks - 1) * in_round if chunks > 1 else pipeline - stage - 1
    first = min(total, ahead)
    alive = most = sum(chunk_layers[chunk(number)] for number in range(first))
    for number in range(total - first):
        alive += chunk_layers[chunk(first + number)]
        most = max(most, alive)
        alive -= chunk_layers[chunks - 1 - chunk(number)]
    return most


def _layers_alive(layers: int, layout: ParallelLayout, micro_batches: int) -> Sequence[int]:
    """By stage of the pipeline. Source: Narayanan et al. 2021, 2.2: one forward, one backward, interleaved where a
    stage holds several chunks."""
    if layout.pipeline == 1:
        return (layers,)
    few = micro_batches if micro_batches % layout.pipeline else min(micro_batches, _PERIODS * layout.pipeline)
    return [
        _alive(tuple(map(len, chunks)), layout.pipeline, stage, few)
        for stage, chunks in enumerate(stage_layers(layers, layout))
    ]
