"""DPO as a stage."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from herd.align.dpo import DpoSettings, MismatchedCompletions, dpo, eos_log_probs, objective, reference_log_probs
from herd.align.losses import losses
from herd.align.results import FinetuningResult, RewardModelResult
from herd.align.reward import RewardSettings, train_reward
from herd.align.sft import SftSettings, sft
from herd.core.artifacts import Checkpoint, Dialogues, Preferences
from herd.core.errors import DataError
from herd.core.records import Conversation, Message
from herd.core.registry import PluginConfig
from herd.core.stage import Work
from herd.core.storage import write_conversations, write_preferences
from herd.model.weights import load_transformer
from herd.run.executors import LocalExecutor
from herd.train.checkpoint import write_checkpoint
from herd.train.preferences import PreferenceBatches, encode_preferences
from tests.model.test_transformer import SMALL, model
from tests.tokens.test_chat import FORM, TOKENIZER
from tests.train.test_preferences import preference


def test_a_model_with_nothing_to_prefer_stays_as_it_is(tmp_path: Path) -> None:
    for name in ("base", "ranked", "out", "scratch"):
        (tmp_path / name).mkdir()
    write_checkpoint(tmp_path / "base", model(), TOKENIZER, kind="chat")
    write_preferences(tmp_path / "ranked", [replace(preference(0), strength="slightly better")])
    work = Work(tmp_path / "out", tmp_path / "scratch", LocalExecutor())
    settings = DpoSettings(loss=PluginConfig(kind=losses.kind, name="dpo", settings={}))
    tuned = dpo.body(work, Checkpoint(tmp_path / "base"), (Preferences(tmp_path / "ranked"),), settings=settings)
    assert "stays as it is" in work.headline
    before, after = load_transformer(tmp_path / "base"), load_transformer(tuned.path)
    assert all(torch.equal(a, b) for a, b in zip(before.parameters(), after.parameters(), strict=True))


def test_as_many_pairs_of_each_balanced_source_are_learnt(tmp_path: Path) -> None:
    for name in ("base", "ranked", "dpo", "reward", "scratch"):
        (tmp_path / name).mkdir()
    write_checkpoint(tmp_path / "base", model(replace(SMALL, vocab_size=TOKENIZER.vocab_size)), TOKENIZER, kind="chat")
    pairs = [
        replace(preference(number), prompt=replace(preference(number).prompt, source="ab"[number < 2]))
        for number in range(6)
    ]
    write_preferences(tmp_path / "ranked", pairs)
    base, ranked = Checkpoint(tmp_path / "base"), (Preferences(tmp_path / "ranked"),)
    work = Work(tmp_path / "dpo", tmp_path / "scratch", LocalExecutor())
    settings = DpoSettings(loss=losses.configure("dpo"), batch_size=2, balanced_sources=("a", "b"))
    dpo.body(work, base, ranked, settings=settings)
    assert work.results[FinetuningResult].examples == 4
    assert work.results[FinetuningResult].left_out["unbalanced"] == 2
    with pytest.raises(DataError, match=r"names 'bb', of which there is no preference; .*'b'"):
        dpo.body(work, base, ranked, settings=replace(settings, balanced_sources=("a", "bb")))
    work = Work(tmp_path / "reward", tmp_path / "scratch", LocalExecutor())
    reward = RewardSettings(batch_size=2, epochs=1, balanced_sources=("a", "b"))
    train_reward.body(work, base, ranked, Preferences(tmp_path / "ranked"), settings=reward)
    assert work.results[FinetuningResult].examples == 4
    assert work.results[FinetuningResult].left_out["unbalanced"] == 2
    result = work.results[RewardModelResult]
    assert result.held_out.pairs == 6
    assert {source: own.pairs for source, own in result.sources.items()} == {"a": 4, "b": 2}


def test_rows_that_ruin_a_training_are_refused_before_it_begins(tmp_path: Path) -> None:
    for name in ("base", "ranked", "dialogues", "out", "scratch"):
        (tmp_path / name).mkdir()
    write_checkpoint(tmp_path / "base", model(), TOKENIZER, kind="chat")
    base = Checkpoint(tmp_path / "base")
    mute = replace(preference(0), strength="better", chosen=(Message("assistant", "so", train=False),))
    write_preferences(tmp_path / "ranked", [mute, preference(1)])
    silent = Conversation((Message("user", "hello"), Message("assistant", "there", train=False)))
    write_conversations(tmp_path / "dialogues", [silent])
    given = (Preferences(tmp_path / "ranked"),)
    loss = PluginConfig(kind=losses.kind, name="dpo", settings={})
    work = Work(tmp_path / "out", tmp_path / "scratch", LocalExecutor())
    with pytest.raises(DataError, match="1 fault in 2 rows: 1 with nothing to learn"):
        dpo.body(work, base, given, settings=DpoSettings(loss=loss))
    with pytest.raises(DataError, match="1 fault in 2 rows: 1 with nothing to learn"):
        train_reward.body(work, base, given, settings=RewardSettings())
    with pytest.raises(DataError, match="1 fault in 1 row: 1 with nothing to learn"):
        sft.body(work, base, (Dialogues(tmp_path / "dialogues"),), settings=SftSettings())


@torch.no_grad()
def test_what_ends_an_answer_is_the_same_from_either_side() -> None:
    policy = model(replace(SMALL, vocab_size=TOKENIZER.vocab_size))
    pairs = encode_preferences([preference(number) for number in range(6)], FORM, context=64, max_answers=2).preferences
    whole, without = (reference_log_probs(policy, pairs, TOKENIZER.pad_id, include_eos=one) for one in (True, False))
    ends = eos_log_probs(policy, pairs, TOKENIZER.pad_id, whole, include_eos=True)
    assert torch.equal(ends, eos_log_probs(policy, pairs, TOKENIZER.pad_id, without, include_eos=False))
    assert torch.allclose(ends, whole - without)
    assert (ends < 0).all()


def test_kto_asks_policy_and_reference_for_answers_to_other_prompts() -> None:
    policy, reference = (model(replace(SMALL, vocab_size=TOKENIZER.vocab_size)) for _ in range(2))
    with torch.no_grad():
        for weight in policy.parameters():
            weight.mul_(1.05)
    pairs = encode_preferences([preference(number) for number in range(6)], FORM, context=64, max_answers=2).preferences
    strangers = MismatchedCompletions.of(reference, pairs, TOKENIZER.pad_id)
    batch = PreferenceBatches(pairs, size=4, epochs=1, seed=0, pad=TOKENIZER.pad_id, length=64).batch(0)
    known = reference_log_probs(reference, pairs, TOKENIZER.pad_id)
    now = reference_log_probs(policy, list(strangers.ranked.values()), TOKENIZER.pad_id)
    wanted = torch.stack([now[number] - strangers.reference[number] for number in batch.numbers])
    assert torch.allclose(strangers.logratios(policy, batch), wanted.flatten(), atol=1e-5)
    seen = []
    kto = losses.make(losses.configure("kto"))
    loss, _ = objective(lambda given: seen.append(given) or kto(given), known, 0.0, strangers)(policy.train(), batch)
    loss.backward()
    assert torch.allclose(seen[0].mismatched_M, wanted.flatten(), atol=1e-5)
    assert not seen[0].mismatched_M.requires_grad
    assert all(torch.isfinite(weight.grad).all() for weight in policy.parameters() if weight.grad is not None)


def test_kto_needs_more_than_one_prompt(tmp_path: Path) -> None:
    for name in ("base", "ranked", "out", "scratch"):
        (tmp_path / name).mkdir()
    write_checkpoint(tmp_path / "base", model(replace(SMALL, vocab_size=TOKENIZER.vocab_size)), TOKENIZER, kind="chat")
    rows = [replace(preference(0), strength="better")] * 3
    write_preferences(tmp_path / "ranked", rows)
    work = Work(tmp_path / "out", tmp_path / "scratch", LocalExecutor())
    settings = DpoSettings(loss=losses.configure("kto"))
    with pytest.raises(DataError, match="none of 3 pairs has one that fits"):
        dpo.body(work, Checkpoint(tmp_path / "base"), (Preferences(tmp_path / "ranked"),), settings=settings)


def test_a_pass_over_all_pairs_tells_how_far_it_is(tmp_path: Path) -> None:
    """A long set must not look as if training hung."""
    for name in ("base", "ranked", "out", "scratch"):
        (tmp_path / name).mkdir()
    write_checkpoint(tmp_path / "base", model(replace(SMALL, vocab_size=TOKENIZER.vocab_size)), TOKENIZER, kind="chat")
    write_preferences(tmp_path / "ranked", [preference(number) for number in range(40)])
    told: list[tuple[float, float, str]] = []
    work = Work(tmp_path / "out", tmp_path / "scratch", LocalExecutor(), report=lambda *progress: told.append(progress))
    settings = DpoSettings(loss=losses.configure("dpo"), batch_size=8)
    dpo.body(work, Checkpoint(tmp_path / "base"), (Preferences(tmp_path / "ranked"),), settings=settings)
    for when in ("before", "after"):
        own = [(done, total) for done, total, words in told if words == f"log-probabilities {when} training"]
        assert len(own) > 1
        assert own == [(number, len(own)) for number in range(1, len(own) + 1)]
