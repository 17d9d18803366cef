"""The cache grows up to its bound, and texts that begin alike have the same blocks until they part."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from herd.generate import kv_cache
from herd.generate.kv_cache import (
    BLOCK_SIZE,
    PREFILL_TOKENS,
    KVCacheManager,
    cache_bounds,
    default_cache_tokens,
    longest_cache_tokens,
    reading_bytes,
)
from herd.generate.params import SamplingParams
from herd.generate.requests import CompletionOutput, CompletionState, Request, RequestOutput
from herd.model.sizes import SIZES
from tests.model.test_transformer import SMALL

CPU = torch.device("cpu")


def answer(tokens: Sequence[int]) -> CompletionState:
    request = Request("request", tuple(tokens), SamplingParams())
    output = RequestOutput("request", request.prompt_token_ids, [CompletionOutput()])
    return CompletionState(request, output, 0, frozenset(), None, None, word_by_word=False)


def test_the_cache_grows_up_to_its_bound_and_keeps_what_it_holds() -> None:
    cache = KVCacheManager(SMALL, 2, 64, torch.float32, CPU)
    assert cache.reserve(1)
    block = cache.pool.allocate()
    cache.keys_LBGSE[:, block] = 7.0
    assert cache.reserve(3)
    assert bool((cache.keys_LBGSE[:, block] == 7.0).all())
    assert not cache.reserve(4)
    assert len(cache.pool) == 1 + 64 // cache.pool.block_size


def test_texts_share_blocks_until_they_part() -> None:
    cache = KVCacheManager(SMALL, 4, 400, torch.float32, CPU)
    leader, equal = answer(range(3, 23)), answer(range(3, 23))
    assert cache.allocate(leader, spare=0)
    assert (leader.cached, len(leader.blocks)) == (0, 2)
    cache.keys_LBGSE[:, leader.blocks[1]] = 5.0
    cache.mark_read(leader)
    assert cache.share(leader, equal)
    parts_after_a_block, parts_within = answer([*range(3, 19), 50, 51]), answer([*range(3, 21), 60])
    assert cache.allocate(parts_after_a_block, spare=0)
    assert cache.allocate(parts_within, spare=0)
    every = [leader, equal, parts_after_a_block, parts_within]
    assert [one.cached for one in every] == [20, 20, 16, 18]
    assert len({one.blocks[0] for one in every}) == 1
    assert len({one.blocks[1] for one in every}) == 4
    for copied in (equal, parts_within):
        assert bool((cache.keys_LBGSE[:, copied.blocks[1]] == 5.0).all())
    for one in every:
        cache.release(one)
    assert cache.pool.free == len(cache.pool) - 1


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> Callable[[float, float], None]:
    """Sets what a GPU says of its memory: bytes that there are for this process, and those in use."""

    def set_memory(available: float, held: float) -> None:
        monkeypatch.setattr(kv_cache, "device_memory", lambda device: (available, held))

    return set_memory


EIGHT = SIZES["8b"].shape(vocab_size=128_256, max_seq_len=131_072)


def test_a_gpu_of_80_gb_reads_a_context_of_128k_with_an_8b_in_bf16(gpu: Callable[[float, float], None]) -> None:
    cuda = torch.device("cuda")
    for dtype, longest in ((torch.bfloat16, 131_072), (torch.float32, 45_661)):
        gpu(80e9, dtype.itemsize * EIGHT.num_params)
        assert default_cache_tokens(EIGHT, 16, dtype, cuda) < longest + 1_000
        found = longest_cache_tokens(EIGHT, dtype, cuda)
        assert found >= longest
        # What it holds and what reading takes lie within what is free.
        taken = found * EIGHT.cache_bytes(dtype.itemsize) + reading_bytes(EIGHT, PREFILL_TOKENS, dtype.itemsize)
        assert taken + dtype.itemsize * EIGHT.num_params <= 80e9
    gpu(80e9, 70e9)
    assert BLOCK_SIZE <= longest_cache_tokens(EIGHT, torch.bfloat16, cuda) < 131_072
    weight = torch.zeros(1, dtype=torch.bfloat16)
    assert cache_bounds(SMALL, 4, weight) == (4 * SMALL.max_seq_len,) * 2  # whole contexts fit
    assert cache_bounds(EIGHT, 4, weight, 100) == (100, 100)
    gpu(80e9, 80e9)
    assert longest_cache_tokens(EIGHT, torch.bfloat16, cuda) == BLOCK_SIZE


@given(st.integers(1, 200_000), st.sampled_from([2, 4]))
def test_reading_takes_as_much_more_as_there_is_more_to_read(tokens: int, itemsize: int) -> None:
    assert reading_bytes(EIGHT, 2 * tokens, itemsize) == pytest.approx(2 * reading_bytes(EIGHT, tokens, itemsize))
    # No less than the feed-forward's three tensors, which lie there at once.
    assert reading_bytes(EIGHT, tokens, itemsize) > 3 * tokens * EIGHT.ffn_dim * itemsize
