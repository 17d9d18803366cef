"""Memory of training: what autograd keeps of a block, a pipeline at its fullest, and the largest model on table 4's
devices."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.utils.checkpoint import checkpoint, create_selective_checkpoint_contexts

from herd.model.rope import rope_tables
from herd.model.sizes import LLAMA_VOCAB_SIZE, Size, model_size
from herd.model.transformer import TransformerBlock
from herd.train import compute
from herd.train.layout import ParallelLayout, TrainableParams, stage_layers
from herd.train.memory import block_bytes, training_memory
from tests.train.test_layout import TABLE_4

GIANT = model_size("405b").shape(vocab_size=LLAMA_VOCAB_SIZE)
SMALL = Size(dim=256, n_layers=1, n_heads=4, n_kv_heads=2, ffn_dim=704).shape(vocab_size=512, max_seq_len=320)
ROWS, LENGTH = 3, 320


def inputs(dtype: torch.dtype) -> tuple[Any, ...]:
    cos, sin = rope_tables(LENGTH, SMALL.head_dim, SMALL.rope_theta, None)
    return torch.randn(ROWS, LENGTH, SMALL.dim, dtype=dtype, requires_grad=True), cos, sin, None, None


def kept_bytes(block: Any, call: Any, dtype: torch.dtype) -> float:
    """Bytes a token that autograd keeps, but for weights, their copies and the tables of positions."""
    saved: dict[int, tuple[int, torch.Size]] = {}
    alive = []  # or another tensor would get the place of one that is gone

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        saved[storage.data_ptr()] = storage.nbytes(), tensor.shape
        alive.append(tensor)
        return tensor

    with torch.autocast("cpu", torch.bfloat16), torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        call(*inputs(dtype))
    shapes = {tuple(weight.shape) for weight in block.parameters()}
    of_weights = shapes | {shape[::-1] for shape in shapes} | {(LENGTH, SMALL.head_dim // 2)}
    return sum(size for size, shape in saved.values() if tuple(shape) not in of_weights) / (ROWS * LENGTH)


@pytest.mark.parametrize("sharded", [False, True])
def test_a_block_keeps_what_autograd_saves(sharded: bool) -> None:
    dtype = torch.bfloat16 if sharded else torch.float32
    block: Any = TransformerBlock(SMALL).to(dtype)
    # Without a compiler for machine code: what is kept is decided before.
    compiled = torch.compile(block, backend="aot_eager_decomp_partition", dynamic=False)
    found = kept_bytes(block, compiled, dtype)
    assert block_bytes(SMALL, sharded=sharded) == pytest.approx(found, rel=0.1)
    # A CPU has no kernel for norms, so that their result before the gain is kept in fp32 beside their input.
    norms = 0 if sharded else 2 * SMALL.dim * 4
    plain = kept_bytes(block, block, dtype)
    assert block_bytes(SMALL, compiled=False, sharded=sharded) + norms == pytest.approx(plain, rel=0.1)
    assert plain > 1.3 * found


def test_selective_keeps_products_attention_and_the_input() -> None:
    block: Any = TransformerBlock(SMALL).bfloat16()
    values: list[int] = []

    def policy(context: Any, operator: Any, *operands: Any, **_: Any) -> bool:
        is_kept = operator in compute._KEPT_OPERATORS
        if is_kept and not context.is_recompute:
            product = operator in (torch.ops.aten.mm.default,)
            values.append(len(operands[0]) * operands[1].shape[1] if product else operands[0].numel())
        return is_kept

    contexts = partial(create_selective_checkpoint_contexts, policy)
    checkpoint(block, *inputs(torch.bfloat16), use_reentrant=False, context_fn=contexts)
    assert len(values) == 8  # seven products and attention
    tokens = ROWS * LENGTH
    assert block_bytes(SMALL, recompute="selective", sharded=True) == 2 * (SMALL.dim + sum(values) / tokens)
    assert block_bytes(SMALL, recompute=True, sharded=True) == 2 * SMALL.dim
    kept = [block_bytes(SMALL, recompute=kind, sharded=True) for kind in (True, "selective", False)]
    assert kept == sorted(kept)


@pytest.mark.row(38, "table_4")
def test_the_rows_of_table_4_fit_where_no_product_is_done_again(figure) -> None:
    """The report trains without checkpointing activations and does not say what its code frees. With norms and gates
    computed again its rows fit into 80 GB; with everything kept that a block reads on its way back they do not."""

    def gigabytes(recompute: Any) -> list[float]:
        return [
            training_memory(GIANT, layout, length=length, micro_batches=rows, recompute=recompute).total / 1e9
            for layout, length, rows in (
                (ParallelLayout(tensor=8, pipeline=16, data=64, chunks=8), 8_192, 32),
                (ParallelLayout(tensor=8, pipeline=16, data=128, chunks=8), 8_192, 16),
                (ParallelLayout(tensor=8, context=16, pipeline=16, data=8, chunks=8), 131_072, 16),
            )
        ]

    selective, everything = gigabytes("selective"), gigabytes(False)
    assert max(selective) < 80
    assert min(everything) > 80
    assert [row[0] for row in TABLE_4] == [8_192, 16_384, 16_384]
    figure(
        f"table 4's rows take {', '.join(f'{size:.0f}' for size in selective)} GB of 80 with norms and gates computed "
        f"again, {', '.join(f'{size:.0f}' for size in everything)} with everything kept"
    )


@given(st.integers(1, 4), st.integers(1, 3), st.integers(1, 12), st.integers(0, 20))
def test_a_pipeline_is_as_full_as_its_schedule(pipeline: int, chunks: int, rounds: int, more: int) -> None:
    layers, layout = pipeline * chunks + more, ParallelLayout(pipeline=pipeline, chunks=chunks)
    micro_batches = rounds * pipeline
    shape = Size(dim=64, n_layers=layers, n_heads=1, n_kv_heads=1, ffn_dim=64).shape(vocab_size=64)
    row = 128 * block_bytes(shape)
    found = training_memory(shape, layout, length=128, micro_batches=micro_batches)
    if pipeline == 1:
        assert found.activations == row * layers
        return
    in_flight = found.activations / row
    held = [sum(map(len, stage)) for stage in stage_layers(layers, layout)]
    # At least its own layers once; never more than all micro-batches, nor than a schedule begins before it goes back.
    ahead = 2 * (pipeline - 1) + (chunks - 1) * pipeline + 1 if chunks > 1 else pipeline
    assert 0 <= in_flight <= max(held) * micro_batches + 1e-9
    assert in_flight <= ahead * max(len(chunk) for stage in stage_layers(layers, layout) for chunk in stage) + 1e-9
    assert in_flight >= min(held) - 1e-9


def test_memory_of_the_largest_model() -> None:
    found = training_memory(GIANT, ParallelLayout(tensor=8, pipeline=16, data=64), length=8_192, micro_batches=16)
    assert found.weights == pytest.approx(6.34e9, rel=0.01)
    # Added up over 16 micro-batches, and shared out in the end.
    assert found.gradients == pytest.approx(12.7e9, rel=0.03)
    assert found.optimizer == pytest.approx(0.59e9, rel=0.02)


def test_memory_is_taken_by_what_learns_and_one_moment_is_half_of_two() -> None:
    layout = ParallelLayout(data=2)
    options: dict[str, Any] = {"length": 128, "micro_batches": 1}
    everything = training_memory(GIANT, layout, **options)
    muon = training_memory(
        GIANT, layout, **options, trainable=TrainableParams(GIANT.num_params, one_moment=GIANT.num_params)
    )
    frozen = training_memory(GIANT, layout, **options, trainable=TrainableParams(0))
    assert everything.optimizer == 12 * GIANT.num_params / 2
    assert muon.optimizer == 8 * GIANT.num_params / 2  # weights in fp32 and the momentum
    assert (frozen.optimizer, frozen.gradients) == (4 * GIANT.num_params / 2, 0)
    assert muon.gradients == everything.gradients
    assert frozen.weights == everything.weights
