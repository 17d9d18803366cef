"""Attention on a CPU by a kernel of our own, which PyTorch's tracing and gradients know as an operator."""

from __future__ import annotations

import ctypes
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import Any

import torch
from torch import Tensor

from herd.model.kernels import Heads, PagedHeads, address, require_cpu_kernels

_OPERATORS = torch.library.Library("herd", "DEF")
_OPERATORS.define("attend(Tensor q, Tensor k, Tensor v, Tensor? starts) -> (Tensor, Tensor)")
_OPERATORS.define(
    "attend_back(Tensor slope, Tensor q, Tensor k, Tensor v, Tensor? starts, Tensor mixed, Tensor logs) "
    "-> (Tensor, Tensor, Tensor)"
)


_OPERATORS.define("attend_cached(Tensor q, Tensor keys, Tensor values, Tensor table, Tensor positions) -> Tensor")


def attend_cached(
    q_BHTE: Tensor, keys_BGSE: Tensor, values_BGSE: Tensor, table_BN: Tensor, positions_BT: Tensor
) -> Tensor:
    """Attention of new tokens over a cache in blocks that holds them already, [B, H, T, E]; not for gradients. In fp32
    on a CPU; on a GPU of one new token a row.

    table_BN: the blocks of each row, int64. positions_BT: of the new tokens, int64, each one more than the one before
    it; a token looks at slots up to its own. Source: Kwon et al. 2023 (PagedAttention), 4.1.
    """
    out = torch.ops.herd.attend_cached(q_BHTE, keys_BGSE, values_BGSE, table_BN, positions_BT)
    assert isinstance(out, Tensor)
    return out


def attend(q_BHTE: Tensor, k_BGTE: Tensor, v_BGTE: Tensor, starts_BT: Tensor | None) -> Tensor:
    """Causal attention in fp32, [B, H, T, E]; H a multiple of G.

    starts_BT: int32, where the document of each token begins; it looks back no further. None: one document a row.
    Source: Dao 2023 (FlashAttention-2), algorithms 1 and 2.
    """
    out, _ = torch.ops.herd.attend(q_BHTE, k_BGTE, v_BGTE, starts_BT)
    assert isinstance(out, Tensor)
    return out


def _heads(x: Tensor) -> Any:
    return ctypes.byref(Heads.of(x))


def _in_rows(x: Tensor) -> Tensor:
    return x if x.stride(-1) == 1 else x.contiguous()


def _like(x_BHTE: Tensor) -> Tensor:
    """Room that lies as the projections do, token after token: what follows need not move it."""
    batch, heads, tokens, width = x_BHTE.shape
    return x_BHTE.new_empty(batch, tokens, heads, width).transpose(1, 2)


def _run_kernel(name: str, q: Tensor, groups: int, keys: int, *arguments: Any) -> None:
    """Calls a kernel for every key/value head of every row, on as many threads as PyTorch has here. keys: of a row."""
    batch, heads, tokens, width = q.shape
    sizes = (ctypes.c_int64 * 6)(batch, heads, groups, tokens, width, keys)
    parts, threads = batch * groups, min(torch.get_num_threads(), batch * groups)
    edges = [ctypes.c_int64(parts * number // threads) for number in range(threads + 1)]
    function = getattr(require_cpu_kernels(), name)
    if threads == 1:
        function(sizes, *arguments, *edges)
    else:
        list(_threads().map(lambda at: function(sizes, *arguments, edges[at], edges[at + 1]), range(threads)))


@cache
def _threads() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(torch.get_num_threads())


def forward(q: Tensor, k: Tensor, v: Tensor, starts: Tensor | None) -> tuple[Tensor, Tensor]:
    """What `attend` gives, and the log of each softmax's sum, [B, H, T], which the way back wants."""
    q, k, v = _in_rows(q), _in_rows(k), _in_rows(v)
    out, lse = _like(q), q.new_empty(q.shape[:3])
    _run_kernel(
        "herd_attend", q, *k.shape[1:3], _heads(q), _heads(k), _heads(v), address(starts), _heads(out), address(lse)
    )
    return out, lse


def _cached(q: Tensor, keys: Tensor, values: Tensor, table: Tensor, positions: Tensor) -> Tensor:
    q, out, table, positions = _in_rows(q), _like(q), table.contiguous(), positions.contiguous()
    pages = [ctypes.byref(PagedHeads.of(x, table)) for x in (keys, values)]
    slots = table.shape[1] * keys.shape[2]
    _run_kernel("herd_attend_cached", q, keys.shape[1], slots, _heads(q), *pages, address(positions), _heads(out))
    return out


def _cached_on_gpu(q: Tensor, keys: Tensor, values: Tensor, table: Tensor, positions: Tensor) -> Tensor:
    from herd.model.paged import attend_blocks

    batch, heads, _, width = q.shape
    out = attend_blocks(q.reshape(batch, heads * width), keys, values, table, positions[:, 0], cos_sin=None)
    return out.view(batch, 1, heads, width).transpose(1, 2)


def backward(saved: tuple[Any, ...], grad: Tensor, grads: tuple[Tensor, Tensor, Tensor]) -> None:
    """Slopes by queries, keys and values, written into `grads`. saved: what `forward` got, then what it gave."""
    q, k, v, starts, out, lse = saved
    grad, q, k, v, out, lse = (_in_rows(x) for x in (grad, q, k, v, out, lse.contiguous()))
    operands = _heads(grad), _heads(q), _heads(k), _heads(v), address(starts), _heads(out), address(lse)
    _run_kernel("herd_attend_back", q, *k.shape[1:3], *operands, *(_heads(x) for x in grads))


def _backward(grad: Tensor, q: Tensor, k: Tensor, v: Tensor, *saved: Any) -> tuple[Tensor, Tensor, Tensor]:
    grads = _like(q), _like(k), _like(v)
    backward((q, k, v, *saved), grad, grads)
    return grads


def _fake_attend(q: Tensor, k: Tensor, v: Tensor, starts: Tensor | None) -> tuple[Tensor, Tensor]:
    return _like(q), q.new_empty(q.shape[:3])


def _fake_attend_back(
    grad: Tensor, q: Tensor, k: Tensor, v: Tensor, starts: Tensor | None, out: Tensor, lse: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    return _like(q), _like(k), _like(v)


def _setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
    q, k, v, starts = inputs
    ctx.save_for_backward(q, k, v, starts, *output)


def _autograd_backward(ctx: Any, grad: Tensor, _: Any) -> tuple[Any, ...]:
    q, k, v, starts, out, lse = ctx.saved_tensors
    return *torch.ops.herd.attend_back(grad, q, k, v, starts, out, lse), None


_OPERATORS.impl("attend", forward, "CPU")
_OPERATORS.impl("attend_cached", _cached, "CPU")
_OPERATORS.impl("attend_cached", _cached_on_gpu, "CUDA")
_OPERATORS.impl("attend_back", _backward, "CPU")
torch.library.register_fake("herd::attend", _fake_attend, lib=_OPERATORS)
torch.library.register_fake("herd::attend_back", _fake_attend_back, lib=_OPERATORS)
torch.library.register_fake("herd::attend_cached", lambda q, *cache: _like(q), lib=_OPERATORS)
torch.library.register_autograd("herd::attend", _autograd_backward, setup_context=_setup_context, lib=_OPERATORS)
