"""Ranked answers and conversations as batches: what is masked, and that nothing is lost."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from herd.core.errors import DataError
from herd.core.records import Conversation, Message, Preference
from herd.train.batches import IGNORE_INDEX
from herd.train.log_probs import target_log_probs
from herd.train.preferences import (
    EncodedPreference,
    PreferenceBatch,
    PreferenceBatches,
    balance,
    encode_preferences,
    eval_batches,
    mismatched_completions,
)
from tests.model.test_transformer import SMALL, model
from tests.tokens.test_chat import FORM, TOKENIZER


def preference(number: int, *, edited: bool = False) -> Preference:
    return Preference(
        prompt=Conversation((Message("user", f"question {number}"),), id=str(number)),
        chosen=(Message("assistant", "good"),),
        rejected=(Message("assistant", "bad and long"),),
        edited=(Message("assistant", "better"),) if edited else (),
    )


def batch_of(
    *preferences: Preference, length: int = 100, shared: bool = False, most: int | None = None
) -> PreferenceBatch:
    ranked = encode_preferences(preferences, FORM, context=1000, max_answers=most).preferences
    return PreferenceBatch(tuple(ranked), TOKENIZER.pad_id, length, shared)


def test_all_ranked_answers_are_taken_or_the_best_two() -> None:
    ranked = [preference(0, edited=True), preference(1)]
    assert [len(one.answers) for one in encode_preferences(ranked, FORM, context=100).preferences] == [3, 2]
    best = encode_preferences(ranked, FORM, context=100, max_answers=2).preferences
    assert [TOKENIZER.decode(one.answers[0].ids).split("\n\n")[-1] for one in best] == ["better", "good"]


def test_what_does_not_fit_or_is_alike_is_left_out_and_counted() -> None:
    with pytest.raises(DataError, match="none of 1 preferences is left: 1 are longer than 4 tokens, of 0"):
        encode_preferences([preference(0)], FORM, context=4)
    alike = replace(preference(1), rejected=preference(1).chosen)
    kept = encode_preferences([preference(0), alike, preference(2)], FORM, context=100)
    assert [(one.number, one.row) for one in kept.preferences] == [(0, 0), (1, 2)]
    assert (kept.duplicates, kept.too_long) == (1, 0)
    needed = kept.preferences[0].shared_tokens
    assert encode_preferences([preference(0)], FORM, context=needed, share_prompt=True).too_long == 0
    with pytest.raises(DataError, match="1 are longer"):
        encode_preferences([preference(0)], FORM, context=needed - 1, share_prompt=True)


@given(st.lists(st.sampled_from("abcd"), min_size=1, max_size=20), st.sets(st.sampled_from("abc")), st.integers(0, 9))
def test_balanced_sources_have_equally_many_and_others_all(sources: list[str], balanced: set[str], seed: int) -> None:
    ranked = [EncodedPreference(number, 2 * number, 0, ()) for number in range(len(sources))]
    names = sorted(balanced)
    left = balance(ranked, sources, names, seed)
    fewest = min((sources.count(name) for name in names), default=0)
    counts = Counter(sources[one.row // 2] for one in left)
    assert all(counts[name] == (fewest if name in balanced else sources.count(name)) for name in "abcd")
    assert [one.number for one in left] == list(range(len(left)))
    assert [one.row for one in left] == sorted(one.row for one in left)
    assert balance(ranked, sources, names, seed) == left


def test_sources_are_balanced_after_what_does_not_fit_is_left_out() -> None:
    def of(source: str, number: int) -> Preference:
        return replace(preference(number), prompt=replace(preference(number).prompt, source=source))

    alike = replace(of("rare", 9), rejected=preference(9).chosen)
    rows = [*(of("often", number) for number in range(6)), alike, of("rare", 6), of("rare", 7), of("free", 8)]
    encoded = encode_preferences(rows, FORM, context=100, balanced_sources=("often", "rare"), seed=3)
    assert Counter(rows[one.row].prompt.source for one in encoded.preferences) == {"often": 2, "rare": 2, "free": 1}
    assert (encoded.unbalanced, encoded.duplicates) == (4, 1)
    assert {
        tuple(one.row for one in encode_preferences(
            rows, FORM, context=100, balanced_sources=("often", "rare"), seed=seed
        ).preferences)
        for seed in range(8)
    } != {tuple(one.row for one in encoded.preferences)}  # fmt: skip
    with pytest.raises(DataError, match="6 have no counterpart in another of balanced_sources"):
        encode_preferences(rows[:6], FORM, context=100, balanced_sources=("often", "rare"))


@pytest.mark.row(42, "mask")
def test_only_an_answers_own_tokens_count() -> None:
    packed = batch_of(preference(0)).packed
    counted = packed.targets_RT[packed.targets_RT != IGNORE_INDEX]
    assert [TOKENIZER.decode(counted[packed.answers_N == n].tolist()) for n in (0, 1)] == ["good", "bad and long"]
    ends = packed.tokens_RT.flatten()[packed.ends_A]
    assert ends.tolist() == [TOKENIZER.eot_id] * 2


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(1, 20)), min_size=1, max_size=8), st.integers(20, 60))
def test_a_prompt_borrows_the_answers_of_another_that_fit_behind_it(sizes: list[tuple[int, int]], context: int) -> None:
    rows = [replace(preference(asked), rejected=(Message("assistant", "bad " * size),)) for asked, size in sizes]
    ranked = encode_preferences(rows, FORM, context=1000).preferences
    found = mismatched_completions(ranked, context)
    for place, one in enumerate(ranked):
        others = [ranked[place - back] for back in range(1, len(ranked))]
        lent = [[answer.ids[other.prompt :] for answer in other.answers] for other in others]
        fit = [
            answers
            for other, answers in zip(others, lent, strict=True)
            if rows[other.row].prompt.messages != rows[one.row].prompt.messages
            and one.prompt + max(map(len, answers)) <= context
        ]
        if not fit:
            assert one.number not in found
            continue
        borrowed = found[one.number].answers
        assert [answer.ids[one.prompt :] for answer in borrowed] == fit[0]
        assert all(answer.ids[: one.prompt] == one.answers[0].ids[: one.prompt] for answer in borrowed)
        assert not any(learn for answer in borrowed for learn in answer.loss_mask[: one.prompt])


@given(st.lists(st.integers(1, 20), min_size=1, max_size=12), st.booleans(), st.integers(60, 200))
def test_packing_keeps_every_answer_whole_and_once(sizes: list[int], shared: bool, length: int) -> None:
    rows = [
        replace(preference(n, edited=n % 2 == 0), rejected=(Message("assistant", "bad " * size),))
        for n, size in enumerate(sizes)
    ]
    batch = batch_of(*rows, length=length, shared=shared)
    packed = batch.packed
    answers = [answer for one in batch.preferences for answer in one.answers]
    assert packed.counts == tuple(len(one.answers) for one in batch.preferences)
    for number, answer in enumerate(answers):
        own = [
            t
            for t, learn, form in zip(answer.ids, answer.loss_mask, answer.format_mask, strict=True)
            if learn and not form
        ]
        assert packed.targets_RT[packed.targets_RT != IGNORE_INDEX][packed.answers_N == number].tolist() == own
    longest = max(one.shared_tokens if shared else one.longest for one in batch.preferences)
    assert packed.tokens_RT.shape[1] <= max(length, longest)


@torch.no_grad()
def test_packed_answers_have_the_likelihoods_they_have_alone() -> None:
    made = model(replace(SMALL, vocab_size=TOKENIZER.vocab_size, max_seq_len=128))
    rows = [preference(n, edited=n == 1) for n in range(5)]

    def summed(batch: PreferenceBatch) -> torch.Tensor:
        packed = batch.packed
        hidden = made.hidden_states(packed.tokens_RT, documents_BT=packed.attention_documents)
        return packed.sums(target_log_probs(hidden, made.output_weight, packed.targets_RT))

    together = summed(batch_of(*rows, length=128))
    alone = torch.cat([summed(batch_of(row)) for row in rows])
    assert torch.allclose(together, alone, atol=1e-5)
    answer = encode_preferences(rows[:1], FORM, context=100).preferences[0].answers[0]
    logits = made(torch.tensor([answer.ids])).log_softmax(-1)[0]
    own = [n for n in range(len(answer)) if answer.loss_mask[n] and not answer.format_mask[n]]
    assert float(alone[0]) == pytest.approx(sum(float(logits[n - 1, answer.ids[n]]) for n in own), rel=1e-5)


@pytest.mark.parametrize(("steps", "ends", "epochs"), [(None, (2, 4), 2.0), (3, (2, 3), 1.5), (7, (2, 4, 6, 7), 3.5)])
def test_steps_stand_in_the_place_of_epochs(steps: int | None, ends: tuple[int, ...], epochs: float) -> None:
    found = batches_of(5, steps=steps)
    assert (len(found), found.epoch_ends, found.epoch_of(len(found))) == (ends[-1], ends, epochs)
    assert all(len(found.batch(step).preferences) == 2 for step in range(len(found)))


def test_a_last_smaller_step_of_each_epoch_reads_every_prompt() -> None:
    encoded = encode_preferences([preference(number) for number in range(5)], FORM, context=200).preferences
    usual: dict[str, Any] = {"size": 2, "epochs": 2, "seed": 0, "pad": 0, "length": 200}
    found = PreferenceBatches(encoded, **usual, drop_last=False)
    assert (len(found), found.epoch_ends, found.unread) == (6, (3, 6), 0)
    for epoch in range(2):
        own = [found.batch(3 * epoch + step) for step in range(3)]
        assert sorted(number for batch in own for number in batch.numbers) == list(range(5))
        assert [batch.loss_denominator for batch in own] == [2, 2, 1]
    assert found.training_flops(SMALL, 6) == pytest.approx(2 * 3 * found.forward_flops(SMALL))
    assert [found.epoch_of(step) for step in (3, 6)] == [1.0, 2.0]
    # Of five, four are shared by two ranks; with four a step nothing is left that they share.
    ranks = PreferenceBatches(encoded, **{**usual, "size": 4}, ranks=2, drop_last=False)
    assert (len(ranks), ranks.unread) == (2, 1)
    before = PreferenceBatches(encoded, **usual)
    assert before.unread == 1
    assert [before.batch(step).numbers for step in (0, 1)] == [found.batch(step).numbers for step in (0, 1)]


@pytest.mark.parametrize("shared", [False, True])
def test_flops_are_those_of_the_tokens_that_are_read_without_padding(shared: bool) -> None:
    encoded = encode_preferences([preference(number) for number in range(5)], FORM, context=200).preferences
    found = PreferenceBatches(encoded, size=2, epochs=2, seed=0, pad=0, length=200, share_prompt=shared)
    read = [sum(token != -1 for token in row) for row in eval_rows(encoded, shared)]
    assert found.pass_tokens == sum(read)
    mean = round(found.pass_tokens / (len(encoded) if shared else sum(len(one.answers) for one in encoded)))
    assert found.forward_flops(SMALL) == found.pass_tokens * SMALL.forward_flops(mean)
    # Two prompts of five a step: five steps read what two passes read.
    assert found.training_flops(SMALL, 5) == pytest.approx(2 * 3 * found.forward_flops(SMALL))
    head = 2 * SMALL.vocab_size * SMALL.dim * found.pass_tokens
    assert found.forward_flops(SMALL, scores=True) == pytest.approx(found.forward_flops(SMALL) - head)


def eval_rows(encoded: Sequence[EncodedPreference], shared: bool) -> list[list[int]]:
    """Every row that one pass reads, with -1 as padding."""
    (batch,) = eval_batches(encoded, pad=-1, length=200, share_prompt=shared)
    return batch.packed.tokens_RT.tolist()


def batches_of(count: int, *, steps: int | None) -> PreferenceBatches:
    encoded = encode_preferences([preference(number) for number in range(count)], FORM, context=200).preferences
    return PreferenceBatches(encoded, size=2, epochs=2, seed=0, pad=TOKENIZER.pad_id, length=200, steps=steps)


def test_every_epoch_holds_every_prompt() -> None:
    ranked = encode_preferences([preference(number) for number in range(12)], FORM, context=100).preferences
    batches = PreferenceBatches(ranked, size=4, epochs=2, seed=0, pad=TOKENIZER.pad_id, length=100)
    assert len(batches) == 6
    for epoch in (0, 1):
        seen = [n for step in range(3) for n in batches.batch(3 * epoch + step).numbers]
        assert sorted(seen) == list(range(12))
    first, second = batches.batch(0).parts(2)
    assert first.loss_denominator == second.loss_denominator == 2
