"""Keys and values come back from the blocks they were written to, and nobody looks at more than there is."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from herd.model import cache as module
from herd.model.cache import PagedKVCache, gather_rows, write_kv
from herd.model.sizes import LLAMA_VOCAB_SIZE, Shape, model_size
from tests.model.test_transformer import SMALL

CPU = torch.device("cpu")


def in_blocks(rows: int, blocks: int, block_size: int, seed: int) -> PagedKVCache:
    """An empty cache whose rows have blocks here and there."""
    one = PagedKVCache.empty(SMALL, rows * blocks, block_size, torch.float32, CPU)
    table = torch.randperm(rows * blocks, generator=torch.Generator().manual_seed(seed)).view(rows, blocks)
    return PagedKVCache(one.keys_LBGSE, one.values_LBGSE, table, torch.zeros(rows, dtype=torch.long))


@given(st.integers(1, 4), st.integers(1, 5), st.data())
def test_what_is_written_stands_in_its_row_in_order(rows: int, block_size: int, data: st.DataObject) -> None:
    cache = in_blocks(rows, 4, block_size, data.draw(st.integers(0, 9)))
    chance = torch.Generator().manual_seed(0)
    slots = cache.cache_len
    assert slots == 4 * block_size
    expected = torch.zeros(2, rows, SMALL.n_kv_heads, slots, SMALL.head_dim)
    cache.lengths_B = torch.tensor(data.draw(st.lists(st.integers(0, slots - 1), min_size=rows, max_size=rows)))
    tokens = data.draw(st.integers(1, slots - int(cache.lengths_B.max())))
    new = torch.randn(2, rows, SMALL.n_kv_heads, tokens, SMALL.head_dim, generator=chance)
    positions = cache.positions(tokens)
    assert positions.tolist() == [list(range(at, at + tokens)) for at in cache.lengths_B.tolist()]
    write_kv(cache.layer(1, positions, slots), new[0], new[1])
    for row, at in enumerate(cache.lengths_B.tolist()):
        expected[:, row, :, at : at + tokens] = new[:, row]
    for found, wanted in zip(gather_rows(cache.layer(1, positions, slots)), expected, strict=True):
        assert torch.equal(found, wanted)
    assert not cache.keys_LBGSE[0].any()  # the other layers are left alone
    part, _ = gather_rows(cache.layer(1, positions, min(slots, block_size + 1)))
    assert part.shape[2] == min(slots, 2 * block_size)  # whole blocks up to the reach


@pytest.mark.parametrize("window", [None, 1, 3])
def test_a_mask_lets_a_token_see_itself_and_those_before_within_the_window(
    window: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "cpu_kernels", lambda: None)
    cache = PagedKVCache.empty(SMALL, 2, 8, torch.float32, CPU)
    cache.lengths_B = torch.tensor([0, 4])
    mask = cache.mask(cache.positions(2), 7, window)
    assert isinstance(mask, torch.Tensor)
    assert mask.shape == (2, 1, 2, 7)
    for row, start in enumerate((0, 4)):
        for token in range(2):
            at = start + token
            seen = range(max(0, at + 1 - (window or 99)), at + 1)
            assert mask[row, 0, token].nonzero().flatten().tolist() == list(seen)


def test_only_where_a_kernel_attends_is_there_no_mask() -> None:
    single, half = (PagedKVCache.empty(SMALL, 1, 8, kind, CPU) for kind in (torch.float32, torch.bfloat16))
    if module.cpu_kernels() is not None:
        assert single.mask(single.positions(1), 8) is None
    assert single.mask(single.positions(1), 8, window=4) is not None
    assert half.mask(half.positions(1), 8) is not None


@pytest.mark.row(3, "cache")
@pytest.mark.parametrize("name", ["8b", "70b", "405b"])
def test_the_cache_shrinks_by_heads_a_group_in_bytes_held(name: str, figure) -> None:
    grouped = model_size(name).shape(vocab_size=LLAMA_VOCAB_SIZE)

    def held(shape: Shape) -> int:
        # On the device that holds nothing, so that a cache of 405B's shape is measured too.
        cache = PagedKVCache.empty(shape, 1, 64, torch.bfloat16, torch.device("meta"))
        return sum(tensor.numel() * tensor.element_size() for tensor in (cache.keys_LBGSE, cache.values_LBGSE))

    ratio = held(replace(grouped, n_kv_heads=grouped.n_heads)) / held(grouped)
    figure(f"{name}: {held(grouped) // 64:,} bytes a token, {ratio:g} times less than multi-head")
    assert ratio == grouped.n_heads / grouped.n_kv_heads
    assert held(grouped) == 64 * grouped.cache_bytes(2)
