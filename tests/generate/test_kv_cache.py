"""The cache grows up to its bound, and texts that begin alike have the same blocks until they part."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from herd.generate.kv_cache import KVCacheManager
from herd.generate.params import SamplingParams
from herd.generate.requests import CompletionOutput, CompletionState, Request, RequestOutput
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
