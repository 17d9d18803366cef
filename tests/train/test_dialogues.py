"""Conversations as batches: packed whole, only the assistant's words learnt, sources read as often as asked."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from herd.core.errors import DataError
from herd.core.records import Conversation, Message
from herd.tokens.shards import TokenShards
from herd.train.batches import IGNORE_INDEX
from herd.train.dialogues import DialogueBatches, inputs_and_targets
from herd.train.replay import ReplaySampler, ReplaySettings
from tests.align.ranks import pack_documents
from tests.tokens.test_chat import CALL, FORM, HELLO, TOKENIZER


def test_prompts_are_no_targets() -> None:
    _, targets = inputs_and_targets(FORM.encode(HELLO))
    kept = targets[targets != IGNORE_INDEX]
    assert TOKENIZER.show(kept.tolist()) == "Hello.<|eot_id|>"


def test_conversations_are_packed_whole() -> None:
    found = DialogueBatches([HELLO, CALL] * 5, FORM, length=256, rows=1, epochs=2, seed=0, pad=TOKENIZER.pad_id)
    learnt_tokens = sum(found.batch(step).loss_denominator for step in range(len(found)))
    alone = sum(int((inputs_and_targets(FORM.encode(one))[1] != IGNORE_INDEX).sum()) for one in (HELLO, CALL))
    assert learnt_tokens == 2 * 5 * alone
    with pytest.raises(DataError, match="none of 1 conversations fits"):
        DialogueBatches([CALL], FORM, length=8, rows=1, epochs=1, seed=0, pad=TOKENIZER.pad_id)


def dialogues(sizes: list[int]) -> list[Conversation]:
    return [
        Conversation((Message("user", f"say {n}"), Message("assistant", "hello " * size)), source="ab"[n % 2])
        for n, size in enumerate(sizes)
    ]


def batches(conversations: list[Conversation], **other: Any) -> DialogueBatches:
    usual: dict[str, Any] = {"length": 128, "rows": 2, "epochs": 1, "seed": 0, "pad": TOKENIZER.pad_id}
    return DialogueBatches(conversations, FORM, **(usual | other))


def rows_of(found: DialogueBatches) -> list[list[int]]:
    """Which conversations each row holds, by number."""
    return [[piece.document for piece in row] for row in found._rows]


@settings(max_examples=25)
@given(st.lists(st.integers(1, 30), min_size=1, max_size=12), st.integers(1, 3))
def test_every_conversation_is_in_every_epoch_once(sizes: list[int], epochs: int) -> None:
    found = batches(dialogues(sizes), epochs=epochs, rows=1)
    counted = Counter(number for row in rows_of(found) for number in row)
    assert counted == dict.fromkeys(range(len(sizes)), epochs)
    for step in range(len(found)):
        batch = found.batch(step)
        assert batch.tokens_BT.shape == (1, 128)
        kept = batch.targets_BT != IGNORE_INDEX
        # What is learnt is what stands at the next place of the same conversation.
        same = batch.documents_BT[:, :-1] == batch.documents_BT[:, 1:]
        assert (batch.targets_BT[:, :-1] == batch.tokens_BT[:, 1:])[kept[:, :-1] & same].all()


def test_sources_are_read_as_often_as_asked_and_shares_are_of_what_is_learnt() -> None:
    conversations = dialogues([10] * 400)
    found = batches(conversations, repeats={"a": 2.5, "b": 0.0})
    counted = Counter(number for row in rows_of(found) for number in row)
    assert {number % 2 for number in counted} == {0}
    assert set(counted.values()) == {2, 3}
    assert counted.total() / 200 == pytest.approx(2.5, abs=0.15)
    assert found.shares == {"a": 1.0}
    both = batches(conversations, repeats={"a": 3.0})  # of the other, which is not named, once
    assert both.shares == pytest.approx({"a": 0.75, "b": 0.25}, abs=0.02)
    with pytest.raises(DataError, match="repeats names c; the conversations are of a, b"):
        batches(conversations, repeats={"c": 2.0})
    with pytest.raises(DataError, match="repeats leave nothing to learn from"):
        batches(conversations, repeats={"a": 0.0, "b": 0.0})


def test_what_is_too_long_is_counted_and_left_out() -> None:
    short, long = dialogues([2, 60])
    size = len(FORM.encode(short))
    found = batches([short, long], length=size - 1)  # the last id is a target only
    assert (found.left_out, len(found)) == (1, 1)
    with pytest.raises(DataError, match="none of 1 conversations fits into"):
        batches([short], length=size - 2)
    with pytest.raises(DataError, match="there are no dialogues to learn from"):
        batches([])


def test_epochs_differ_a_seed_repeats_and_a_step_has_the_rows_asked_for() -> None:
    conversations = dialogues([5, 9, 14, 3, 8, 2] * 8)
    once, again, other = (batches(conversations, epochs=2, seed=seed) for seed in (0, 0, 1))
    assert rows_of(once) == rows_of(again) != rows_of(other)
    half = len(once._rows) // 2
    assert rows_of(once)[:half] != rows_of(once)[half:]
    assert once.tokens == len(once) * 2 * 128
    few = batches(conversations[:1], rows=16)
    assert len(few) == 1
    assert few.batch(0).tokens_BT.shape == (1, 128)


def test_epochs_end_with_the_steps_that_read_their_last_rows() -> None:
    """Rows of one conversation each, five an epoch, two a step: the third step ends one epoch and begins another."""
    conversations = dialogues([40] * 5)
    length = len(batches(conversations).texts[0][0])
    found = batches(conversations, length=length, rows=2, epochs=2)
    assert (len(found), found.epoch_ends) == (5, (3, 5))
    assert [found.epoch_of(step) for step in (0, 2, 5)] == [0.0, 0.8, 2.0]


@given(count=st.integers(1, 12), epochs=st.integers(1, 3), size=st.integers(1, 5), ranks=st.sampled_from([1, 2]))
def test_a_last_smaller_step_reads_what_fills_none(count: int, epochs: int, size: int, ranks: int) -> None:
    """The full steps are those of before; behind them stands what ranks share evenly of the rest."""
    count, size = max(count, ranks), size * ranks
    conversations = dialogues([40] * count)
    length = len(batches(conversations).texts[0][0])
    usual: dict[str, Any] = {"length": length, "rows": size, "epochs": epochs, "ranks": ranks}
    before, found = batches(conversations, **usual), batches(conversations, **usual, drop_last=False)
    assert rows_of(found) == rows_of(before)
    for step in range(len(before)):
        assert found.batch(step).tokens_BT.equal(before.batch(step).tokens_BT)
    last = before.unread_rows - before.unread_rows % ranks
    assert (len(found) - len(before), found.unread_rows) == (last > 0, before.unread_rows % ranks)
    assert found.tokens == before.tokens + last * length
    if last:
        batch = found.batch(len(before))
        assert len(batch.tokens_BT) == last
        assert batch.loss_denominator == float((batch.targets_BT != IGNORE_INDEX).sum())
    assert found.epoch_ends[-1] == len(found)
    assert found.epoch_of(len(found)) == pytest.approx((count * epochs - found.unread_rows) / count)


@given(sizes=st.lists(st.integers(1, 30), min_size=1, max_size=6), steps=st.integers(1, 12), rows=st.integers(1, 3))
def test_as_many_steps_are_made_as_are_asked_for_over_whole_epochs(sizes: list[int], steps: int, rows: int) -> None:
    given_steps = batches(dialogues(sizes), rows=rows, steps=steps)
    assert len(given_steps) == steps == given_steps.epoch_ends[-1]
    by_epochs = batches(dialogues(sizes), rows=rows, epochs=len(given_steps.epoch_ends) + steps * rows)
    assert rows_of(given_steps) == rows_of(by_epochs)[: steps * rows]
    assert 0 < given_steps.epoch_of(steps) <= steps * rows


def test_repeats_that_leave_nothing_are_refused_however_long_one_asks_for() -> None:
    with pytest.raises(DataError, match="read at least one source"):
        batches(dialogues([3]), repeats={dialogues([3])[0].source: 0.0}, steps=4)


def test_steps_end_where_passes_draw_nothing_and_go_on_where_few_draw_something() -> None:
    with pytest.raises(DataError, match="repeats draw nothing in 1,000 passes, and 4 steps want rows"):
        batches(dialogues([1] * 4), repeats={"a": 1e-9, "b": 0}, steps=4)
    found = batches(dialogues([1] * 4), repeats={"a": 0.02, "b": 0}, steps=4)
    assert len(found) == 4
    assert len(found.epoch_ends) <= 4 < len(found._rows_by_epoch)


def test_the_rows_of_all_ranks_are_the_batch_and_know_its_weight() -> None:
    found = batches(dialogues([5, 9, 14, 3] * 8), rows=4)
    for step in range(len(found)):
        whole = found.batch(step)
        parts = [found.batch(step, rank, 2) for rank in range(2)]
        assert torch.cat([part.tokens_BT for part in parts]).equal(whole.tokens_BT)
        assert {part.loss_denominator for part in parts} == {whole.loss_denominator}
        assert all((part.attention_documents is None) == (whole.attention_documents is None) for part in parts)


def test_a_turn_that_shall_not_be_learnt_is_no_target() -> None:
    silent = replace(HELLO, messages=(*HELLO.messages[:-1], replace(HELLO.last, train=False)))
    ids, targets = inputs_and_targets(FORM.encode(silent))
    assert (targets == IGNORE_INDEX).all()
    assert ids.tolist() == FORM.encode(HELLO).ids[:-1]


@pytest.fixture
def shards(tmp_path: Path) -> TokenShards:
    pack_documents(tmp_path)
    return TokenShards(tmp_path)


def replay_beside(shards: TokenShards, share: float, **weights: float) -> ReplaySampler:
    return ReplaySampler(shards, ReplaySettings(share=share, mixture_weights=weights), length=128, seed=0)


def texts_in(found: DialogueBatches) -> list[list[tuple[str, int, int]]]:
    """Of every row the texts, each with how many places it has and how many of them are learnt."""
    rows = []
    for step in range(len(found)):
        batch = found.batch(step)
        for tokens, targets, documents in zip(batch.tokens_BT, batch.targets_BT, batch.documents_BT, strict=True):
            inside = [documents == number for number in range(int(documents.max()) + 1)]
            rows.append(
                [(TOKENIZER.show(tokens[at].tolist()), int(at.sum()), int((targets[at] >= 0).sum())) for at in inside]
            )
    return rows


def test_replayed_documents_stand_in_rows_beside_dialogues_and_are_learnt_whole(shards: TokenShards) -> None:
    conversations = dialogues([5, 9, 14, 3, 8, 2] * 8)
    plain = batches(conversations, rows=1, epochs=2)
    found = batches(conversations, rows=1, epochs=2, replay=replay_beside(shards, 0.3, a=0.5, b=0.5))
    rows = texts_in(found)
    read, learnt = Counter[str](), Counter[str]()
    for text, places, targets in chain.from_iterable(rows):
        name = "dialogue" if "say" in text or "hello" in text else "a" if " a cat" in text else "b"
        read[name] += places
        learnt[name] += targets
        assert "heldout" not in text
        assert (targets == places) == (name != "dialogue")
    assert read["dialogue"] == sum(places for _, places, _ in chain.from_iterable(texts_in(plain)))  # all of them still
    for name in "ab":
        assert read[name] / read.total() == pytest.approx(0.15, abs=0.01)
        assert found.replayed[name].tokens == read[name]
        assert found.replayed[name].share == pytest.approx(read[name] / read.total())
        assert found.shares[f"replay/{name}"] == pytest.approx(learnt[name] / learnt.total())
    assert sum(found.shares.values()) == pytest.approx(1.0)
    assert any(len({targets == places for _, places, targets in row}) == 2 for row in rows)  # both kinds in one row
    assert found.examples == plain.examples == len(conversations)
    assert plain.replayed == {}
    assert set(plain.shares) == {"a", "b"}
    by_epoch = [{text for text, *_ in chain.from_iterable(half)} for half in (rows[: len(rows) // 2], rows[-3:])]
    assert by_epoch[0] - by_epoch[1]


def test_ranks_share_replayed_rows_and_too_few_conversations_to_replay_beside_are_refused(shards: TokenShards) -> None:
    found = batches(dialogues([5, 9, 14, 3] * 8), rows=4, replay=replay_beside(shards, 0.5, a=1.0))
    for step in range(len(found)):
        whole, parts = found.batch(step), [found.batch(step, rank, 2) for rank in range(2)]
        assert torch.cat([part.targets_BT for part in parts]).equal(whole.targets_BT)
        assert {part.loss_denominator for part in parts} == {whole.loss_denominator}
    with pytest.raises(DataError, match="less than half a document; raise `share`"):
        batches(dialogues([1]), replay=replay_beside(shards, 0.01, b=1.0))
