"""Rows worked on at once on a GPU: as many as fit, told once. No GPU is asked here: its memory is given."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from herd.run.executors import LocalExecutor
from herd.tokens.chat import EncodedConversation
from herd.train.batches import Batch, TokenBatches
from herd.train.cost import TrainingJob, usable_bytes
from herd.train.layout import ParallelLayout
from herd.train.loop import single_device
from herd.train.memory import training_memory
from herd.train.micro_batch import MicroBatches, micro_batches
from herd.train.preferences import EncodedPreference, PreferenceBatch, eval_batches, most_measured_tokens
from herd.train.settings import ComputeSettings
from tests.train.test_loop import batches as batches
from tests.train.test_loop import state

COMPUTE, ONE = ComputeSettings(dtype="bf16"), ParallelLayout()


def rows_of(count: int, length: int) -> Batch:
    ids = torch.zeros(count, length, dtype=torch.long)
    return Batch(ids, ids, ids)


def job(length: int, rows: int) -> TrainingJob:
    return TrainingJob(state().model.shape, rows * length, length, rows * length, compiled=False)


@pytest.mark.parametrize("fit_rows", [1, 3, 8])
def test_as_many_rows_as_fit_beside_what_else_is_held(fit_rows: int, capsys: pytest.CaptureFixture[str]) -> None:
    made, length, others = state(), 128, 12_345_678
    needed = job(length, 8).memory(ParallelLayout(), fit_rows).total / usable_bytes(1.0)
    own = sum(4 * weight.numel() for weight in made.model.parameters())
    choice = MicroBatches(made, COMPUTE, ParallelLayout(), lambda: (needed * 1.0001 + others, own + others))
    assert choice.rows(rows_of(8, length)) == fit_rows
    assert choice.rows(rows_of(8, length)) == fit_rows
    told = capsys.readouterr().out
    assert told.count(f"8 rows of 128 tokens are worked on {fit_rows} at once") == (fit_rows < 8)


def test_what_does_not_fit_at_all_is_tried_row_by_row_and_others_are_left_alone() -> None:
    made = state()
    choice = MicroBatches(made, COMPUTE, ParallelLayout(), lambda: (1.0, 0.0))
    assert choice.rows(rows_of(4, 64)) == 1
    others: Any = object()
    assert choice.rows(others) is None
    assert MicroBatches(made, COMPUTE, ParallelLayout(pipeline=2), lambda: (1e12, 0.0)).rows(rows_of(4, 64)) is None


def test_a_cpu_works_in_halves_as_before(batches: TokenBatches) -> None:
    made = state()
    assert micro_batches(made, single_device(made, LocalExecutor())) is None


def ranked(*lengths: int, share_prompt: bool = False) -> PreferenceBatch:
    """A pair for each length: of an answer that long and one half as long, each behind four tokens of prompt."""

    def answer(tokens: int) -> EncodedConversation:
        return EncodedConversation([5] * tokens, [False] * 4 + [True] * (tokens - 4), [False] * tokens)

    pairs = [
        EncodedPreference(number, number, 4, (answer(length), answer(max(5, length // 2))))
        for number, length in enumerate(lengths)
    ]
    return PreferenceBatch(tuple(pairs), 0, 4096, share_prompt)


def taken(batch: PreferenceBatch, parts: int, layout: ParallelLayout = ONE) -> float:
    """By the fullest of so many parts."""
    shape = state().model.shape
    sizes = [part.packed_bound for own in batch.parts(layout.data) for part in own.parts(parts)]
    return max(
        training_memory(shape, layout, length=length, rows=rows, micro_batches=parts, compiled=False).total
        + 3 * rows * length**2
        for rows, length in sizes
    )


@given(st.lists(st.integers(5, 1500), min_size=1, max_size=12), st.booleans())
@settings(max_examples=30, deadline=None)
def test_no_packed_batch_is_larger_than_its_bound(lengths: list[int], share_prompt: bool) -> None:
    batch = ranked(*lengths, share_prompt=share_prompt)
    rows, width = batch.packed_bound
    packed = batch.packed.tokens_RT.shape
    assert packed[0] <= rows
    assert packed[1] <= width


@pytest.mark.parametrize("parts", [1, 2, 4, 8])
def test_as_many_prompts_as_fit_by_their_tokens(parts: int, capsys: pytest.CaptureFixture[str]) -> None:
    made, batch = state(), ranked(*[900, 1000] * 4)
    own = sum(4 * weight.numel() for weight in made.model.parameters())
    needed = taken(batch, parts) / usable_bytes(1.0)
    choice = MicroBatches(made, COMPUTE, ParallelLayout(), lambda: (needed * 1.0001, own))
    assert choice.rows(batch) == 8 // parts
    # Of longer answers fewer, of shorter ones more, without another word.
    assert (choice.rows(ranked(*[4000] * 8)) or 0) <= 8 // parts <= (choice.rows(ranked(*[20] * 8)) or 0)
    told = capsys.readouterr().out
    assert told.count("prompts with answers in rows of up to") <= 1
    if parts > 1:
        assert f"8 prompts with answers in rows of up to 1,024 tokens are worked on {8 // parts} at once" in told


def test_prompts_that_do_not_fit_at_all_are_tried_one_by_one() -> None:
    choice = MicroBatches(state(), COMPUTE, ParallelLayout(), lambda: (1.0, 0.0))
    assert choice.rows(ranked(*[500] * 5)) == 1
    assert choice.rows(ranked(500)) == 1


def test_ranks_agree_by_the_fullest_part_of_any(monkeypatch: pytest.MonkeyPatch) -> None:
    """All see the whole batch: the rank with the long answers decides for the one with the short."""
    layout, batch = ParallelLayout(data=2), ranked(*[20] * 4, *[1000] * 4)
    monkeypatch.setattr("herd.train.micro_batch.dist.all_reduce", lambda *arguments: None)
    needed = taken(batch, 2, layout) / usable_bytes(1.0)
    made = state()
    own = sum(4 * weight.numel() for weight in made.model.parameters())
    assert MicroBatches(made, COMPUTE, layout, lambda: (needed * 1.0001, own)).rows(batch) == 2


def test_batches_that_are_measured_are_bounded_by_tokens_on_a_gpu_alone() -> None:
    pairs = ranked(*[1000] * 40, 90, 90).preferences
    free = list(eval_batches(pairs, pad=0, length=4096))
    assert [len(batch.preferences) for batch in free] == [32, 10]
    assert most_measured_tokens(torch.device("cpu")) is None
    assert most_measured_tokens(torch.device("cuda")) == 32_768
    bounded = list(eval_batches(pairs, pad=0, length=4096, max_tokens=3000))
    assert [len(batch.preferences) for batch in bounded] == [2] * 20 + [2]
    assert [pair for batch in bounded for pair in batch.preferences] == list(pairs)
    assert len(list(eval_batches(pairs, pad=0, length=4096, max_tokens=1))) == 42
    assert list(eval_batches((), pad=0, length=4096)) == []
