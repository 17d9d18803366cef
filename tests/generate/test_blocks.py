"""Blocks are given out once, shared by count, found by what they hold, and never lost."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from herd.generate.blocks import ROOT_HASH, BlockPool, Prefix, block_hash

TEXT = tuple(range(100, 111))


def filled() -> tuple[BlockPool, list[int]]:
    """A pool in which TEXT lies in blocks of four, the last with three tokens, used by nobody."""
    pool = BlockPool(4)
    pool.grow(5)
    blocks = [pool.allocate() for _ in range(3)]
    before = ROOT_HASH
    for number, block in enumerate(blocks):
        part = TEXT[4 * number : 4 * number + 4]
        pool.index(block, before, part)
        before = block_hash(before, part)
    pool.release(blocks)
    return pool, blocks


def test_the_longest_part_of_a_text_is_found() -> None:
    pool, (first, second, third) = filled()
    assert pool.match(TEXT) == Prefix((first, second), third, 3)
    assert pool.match(TEXT[:10]) == Prefix((first, second), third, 2)
    assert pool.match((*TEXT[:6], 1, 1, 1)) == Prefix((first,), second, 2)
    assert pool.match(TEXT[:8]) == Prefix((first, second))
    assert pool.match(TEXT[4:8]) == Prefix()  # the same tokens after others are not the same
    pool.forget()
    assert pool.match(TEXT) == Prefix()
    assert (pool.empty, pool.free) == (4, 4)


def test_what_was_unused_for_longest_is_overwritten_first_and_ends_before_beginnings() -> None:
    pool, (first, second, third) = filled()
    assert (pool.empty, pool.free) == (1, 4)
    pool.allocate()
    assert pool.allocate() == third
    assert pool.match(TEXT) == Prefix((first, second))
    pool.acquire([second])  # in use, and so not to be had
    assert pool.allocate() == first
    assert pool.free == 0
    assert pool.match(TEXT) == Prefix()


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(["allocate", "share", "release"]), st.integers(0, 9)), max_size=60))
def test_counts_always_add_up(moves: list[tuple[str, int]]) -> None:
    pool = BlockPool(2)
    pool.grow(7)
    texts: list[list[int]] = []
    for number, (move, which) in enumerate(moves):
        if move == "allocate" and pool.free:
            texts.append([pool.allocate()])
            assert all(texts[-1][0] not in other for other in texts[:-1])
            pool.index(texts[-1][0], ROOT_HASH, (number, which))
        elif move == "share" and texts:
            texts.append(list(texts[which % len(texts)]))
            pool.acquire(texts[-1])
        elif move == "release" and texts:
            pool.release(texts.pop(which % len(texts)))
        used = {block for text in texts for block in text}
        assert pool.free == 6 - len(used)
    for text in texts:
        pool.release(text)
    assert pool.free == 6
