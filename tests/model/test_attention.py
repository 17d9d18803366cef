"""Grouped-query attention against multi-head attention written out, and its parts by themselves."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as functional

from herd.model.architecture import Architecture
from herd.model.attention import Attention
from herd.model.attention_backends import DenseMask, document_mask
from herd.model.cache import PagedKVCache
from herd.model.rope import rope_tables, rotate
from tests.model.test_transformer import SMALL


def states(tokens: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(2, tokens, SMALL.dim, generator=torch.Generator().manual_seed(seed))


def test_a_table_is_looked_up_whichever_way_is_chosen() -> None:
    layer, x, documents = Attention(SMALL), states(9), torch.tensor([[0] * 4 + [1] * 5] * 2)
    cos, sin = rope_tables(9, SMALL.head_dim, 5e5)
    mask = layer.attention_backend.mask(documents)
    table = DenseMask(document_mask(documents))
    assert torch.allclose(layer(x, cos, sin, table, None), layer(x, cos, sin, mask, None), atol=1e-6)


@pytest.mark.parametrize("own", ["head", "width"])
def test_a_norm_of_queries_and_keys_makes_their_length_indifferent(own) -> None:
    layer = Attention(replace(SMALL, architecture=Architecture(qk_norm=own)))
    cos, sin = rope_tables(7, SMALL.head_dim, 5e5)
    before = layer(states(7), cos, sin, None, None)
    with torch.no_grad():
        layer.query.weight.mul_(3.0)
        layer.key.weight.mul_(5.0)
    assert torch.allclose(layer(states(7), cos, sin, None, None), before, atol=1e-4)
    widths = {"head": (SMALL.head_dim,) * 2, "width": (SMALL.dim, SMALL.dim // 2)}[own]
    assert (len(layer.query_norm.weight), len(layer.key_norm.weight)) == widths


def test_with_a_cache_new_tokens_look_at_those_before_by_kernel_and_by_table() -> None:
    layer, x = Attention(SMALL), states(8)
    cos, sin = rope_tables(8, SMALL.head_dim, 5e5)
    with torch.inference_mode():
        whole = layer(x, cos, sin, None, None)
        for masked in (False, True):
            cache = PagedKVCache.empty(SMALL, 2, 8, torch.float32, torch.device("cpu"))
            parts = []
            for start, end in ((0, 5), (5, 6), (6, 8)):
                positions = cache.positions(end - start)
                slots = torch.arange(end)
                mask = (slots <= positions[:, :, None])[:, None] if masked else cache.mask(positions, end)
                turns = cos[start:end], sin[start:end]
                parts.append(layer(x[:, start:end], *turns, mask, cache.layer(0, positions, end)))
                cache.lengths_B = cache.lengths_B + (end - start)
            assert torch.allclose(torch.cat(parts, 1), whole, atol=1e-5)


def multi_head(layer: Attention, x: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor) -> torch.Tensor:
    """Multi-head attention written out, with the weights of `layer` and as many keys and values as queries."""
    batch, tokens, width = x.shape

    def heads(weight: torch.Tensor) -> torch.Tensor:
        return functional.linear(x, weight).view(batch, tokens, SMALL.n_heads, -1).transpose(1, 2)

    query, key = rotate(heads(layer.query.weight), cos, sin), rotate(heads(layer.key.weight), cos, sin)
    mixed = functional.scaled_dot_product_attention(query, key, heads(layer.value.weight), is_causal=True)
    return functional.linear(mixed.transpose(1, 2).reshape(batch, tokens, width), layer.output.weight)


@pytest.mark.row(3, "groups")
def test_as_many_groups_as_heads_are_multi_head_attention_bit_for_bit(figure) -> None:
    layer = Attention(replace(SMALL, n_kv_heads=SMALL.n_heads))
    cos, sin = rope_tables(7, SMALL.head_dim, 5e5)
    same = 0
    for seed in range(20):
        x = torch.randn(2, 7, SMALL.dim, generator=torch.Generator().manual_seed(seed))
        same += torch.equal(layer(x, cos, sin, None, None), multi_head(layer, x, cos, sin))
    figure(f"{same} of 20 batches equal to the bit")
    assert same == 20


@pytest.mark.row(3, "groups")
def test_a_group_shares_one_key_and_value() -> None:
    grouped, plain = Attention(SMALL), Attention(replace(SMALL, n_kv_heads=SMALL.n_heads))
    weights = dict(grouped.state_dict())
    for name in ("key.weight", "value.weight"):
        rows = weights[name].view(SMALL.n_kv_heads, SMALL.head_dim, SMALL.dim)
        weights[name] = rows.repeat_interleave(SMALL.n_heads // SMALL.n_kv_heads, 0).reshape(SMALL.dim, SMALL.dim)
    plain.load_state_dict(weights)
    x = torch.randn(2, 7, SMALL.dim, generator=torch.Generator().manual_seed(3))
    cos, sin = rope_tables(7, SMALL.head_dim, 5e5)
    assert (grouped(x, cos, sin, None, None) - plain(x, cos, sin, None, None)).abs().max().item() < 1e-6
