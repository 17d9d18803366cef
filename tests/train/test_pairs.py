"""Ranked answers and conversations as batches: what is masked, and that nothing is lost."""

from __future__ import annotations

import pytest
import torch

from herd.core.errors import DataError
from herd.core.records import Conversation, Message, Preference
from herd.train.batches import IGNORED
from herd.train.dialogues import DialogueBatches, learnt
from herd.train.pairs import PairBatches, answer_log_probs, collate_answers, collate_pairs, encode_pairs
from tests.tokens.test_chat import CALL, FORM, HELLO, TOKENIZER


def preference(number: int, *, edited: bool = False) -> Preference:
    return Preference(
        prompt=Conversation((Message("user", f"question {number}"),), id=str(number)),
        chosen=(Message("assistant", "good"),),
        rejected=(Message("assistant", "bad and long"),),
        edited=(Message("assistant", "better"),) if edited else (),
    )


def test_three_ranked_answers_make_three_pairs_or_the_best_two() -> None:
    ranked = [preference(0, edited=True), preference(1)]
    assert len(encode_pairs(ranked, FORM, every=True, context=100)) == 4
    pairs = encode_pairs(ranked, FORM, every=False, context=100)
    assert [TOKENIZER.decode(pair.better.ids).split("\n\n")[-1] for pair in pairs] == ["better", "good"]


def test_pairs_that_do_not_fit_are_left_out_and_none_left_is_told() -> None:
    with pytest.raises(DataError, match="none of 1 preferences fits into 4 tokens"):
        encode_pairs([preference(0)], FORM, every=True, context=4)


@pytest.mark.row(42)
def test_only_an_answers_own_tokens_count() -> None:
    pair = encode_pairs([preference(0)], FORM, every=False, context=100)[0]
    batch = collate_pairs([pair], TOKENIZER.pad)
    counted = batch.better.tokens_BT[batch.better.content_BT].tolist()
    assert TOKENIZER.decode(counted) == "good"
    assert int(batch.better.tokens_BT[0, batch.better.last_B[0]]) == TOKENIZER.end_of_turn


def test_log_probs_are_sums_over_the_answer() -> None:
    pair = encode_pairs([preference(0)], FORM, every=False, context=100)[0]
    answers = collate_answers([pair.better], len(pair.better) + 3, TOKENIZER.pad)
    logits = torch.randn(1, len(pair.better) + 3, TOKENIZER.size, generator=torch.Generator().manual_seed(0))
    wanted = 0.0
    for place in range(1, answers.tokens_BT.shape[1]):
        if answers.content_BT[0, place]:
            wanted += float(logits[0, place - 1].log_softmax(-1)[answers.tokens_BT[0, place]])
    assert float(answer_log_probs(logits, answers)[0]) == pytest.approx(wanted, rel=1e-5)


def test_every_epoch_holds_every_pair() -> None:
    pairs = encode_pairs([preference(number) for number in range(12)], FORM, every=False, context=100)
    batches = PairBatches(pairs, size=4, epochs=2, seed=0, pad=TOKENIZER.pad)
    assert len(batches) == 6
    for epoch in (0, 1):
        seen = [n for step in range(3) for n in batches.batch(3 * epoch + step).numbers_B.tolist()]
        assert sorted(seen) == list(range(12))
    first, second = batches.batch(0).parts(2)
    assert first.weight == second.weight == 2


@pytest.mark.row(41)
def test_prompts_are_no_targets_and_get_no_gradient(figure) -> None:
    inputs, targets = learnt(FORM.conversation(HELLO))
    kept = targets[targets != IGNORED]
    assert TOKENIZER.show(kept.tolist()) == "Hello.<|eot_id|>"
    logits = torch.zeros(len(inputs), TOKENIZER.size, requires_grad=True)
    loss = torch.nn.functional.cross_entropy(logits, torch.from_numpy(targets))
    (gradient,) = torch.autograd.grad(loss, logits)
    outside = gradient[torch.from_numpy(targets) == IGNORED].abs().max().item()
    figure(f"largest gradient from a prompt token {outside}")
    assert outside == 0.0


def test_conversations_are_packed_whole() -> None:
    found = DialogueBatches([HELLO, CALL] * 5, FORM, length=256, rows=1, epochs=2, seed=0, pad=TOKENIZER.pad)
    learnt_tokens = sum(found.batch(step).weight for step in range(len(found)))
    alone = sum(int((learnt(FORM.conversation(one))[1] != IGNORED).sum()) for one in (HELLO, CALL))
    assert learnt_tokens == 2 * 5 * alone
    with pytest.raises(DataError, match="none of 1 conversations fits"):
        DialogueBatches([CALL], FORM, length=8, rows=1, epochs=1, seed=0, pad=TOKENIZER.pad)
