"""Rejection sampling: who is kept and why, what a stop costs, and what the best of K is worth."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from herd.align.rejection_sampling import (
    RejectionSamplingSettings,
    _cached_parts,
    _with_system_prompt,
    rejection_sample,
    warning,
)
from herd.align.results import DialogueCount
from herd.core.artifacts import Checkpoint, Dialogues
from herd.core.errors import DataError, StoppedError
from herd.core.records import Conversation, Message
from herd.core.registry import PluginConfig
from herd.core.stage import Work
from herd.core.storage import read_conversations, write_conversations
from herd.generate.engine import SamplingParams
from herd.judge.verifiers import verifiers
from herd.run.executors import LocalExecutor
from herd.train.checkpoint import write_checkpoint
from tests.model.test_transformer import SMALL, model
from tests.tokens.test_chat import TOKENIZER


def test_a_reward_model_that_likes_the_wrong_thing_is_told_of() -> None:
    def row(k: float, **more: float) -> dict[str, float]:
        return {"k": k, "reward": k, "tokens": 10.0, "repeats": 0.0} | more

    assert warning([row(1), row(30)]) == ""
    assert "may count words" in warning([row(1), row(30, tokens=20.0)])
    assert "repeat themselves" in warning([row(1), row(30, repeats=0.2)])
    found = warning([row(1, gold=0.80), row(2, gold=0.82), row(30, gold=0.74)])
    assert "the best of 30 is right in 74%, of 2 in 82%" in found
    assert warning([row(1, gold=0.5), row(30, gold=0.9)]) == ""


def test_system_prompts_steer_and_are_not_kept() -> None:
    prompt = Conversation((Message("user", "hello"),))
    assert [one.role for one in _with_system_prompt(prompt, "Be brief.").messages] == ["system", "user"]
    own = Conversation((Message("system", "You are Bo."), Message("user", "hello")))
    assert _with_system_prompt(own, "Be brief.").messages[0].content == "You are Bo.\n\nBe brief."
    assert _with_system_prompt(prompt, "") == prompt


@pytest.fixture
def given_prompts(tmp_path: Path) -> tuple[Checkpoint, Dialogues]:
    folder = tmp_path / "model"
    folder.mkdir()
    write_checkpoint(
        folder, model(replace(SMALL, vocab_size=TOKENIZER.vocab_size, max_seq_len=256)), TOKENIZER, kind="chat"
    )
    prompts = tmp_path / "prompts"
    prompts.mkdir()
    asked = [Conversation((Message("user", f"say {n}"),), id=f"{n}", source="talk") for n in range(130)]
    asked.append(replace(asked[0], id="known", messages=(*asked[0].messages, Message("assistant", "12"))))
    asked.append(replace(asked[0], id="tool", tools=("brave_search",)))
    asked.append(replace(asked[0], id="long", messages=(Message("user", "long " * 300),)))
    write_conversations(prompts, asked)
    return Checkpoint(folder), Dialogues(prompts)


def made(
    tmp_path: Path, given_prompts: tuple[Checkpoint, Dialogues], name: str, verify: PluginConfig | None = None,
    require_answers: bool = False,
) -> Work:  # fmt: skip
    settings = RejectionSamplingSettings(
        sampling=SamplingParams(temperature=1.0, max_tokens=3), num_samples=3, verifier=verify,
        require_answers=require_answers,
    )  # fmt: skip
    for folder in ("out", "scratch"):
        (tmp_path / name / folder).mkdir(parents=True, exist_ok=True)
    work = Work(tmp_path / name / "out", tmp_path / name / "scratch", LocalExecutor(lambda: 1))
    rejection_sample.body(work, None, *given_prompts, settings=settings)
    return work


def test_a_run_that_is_stopped_samples_nothing_twice(tmp_path: Path, given_prompts, monkeypatch) -> None:
    whole = made(tmp_path, given_prompts, "whole")
    kept = tmp_path / "whole" / "scratch" / "answers.jsonl"
    assert sum(len(json.loads(line)) for line in kept.read_text().splitlines()) == 131
    # Stopped while the second part was being written down.
    (tmp_path / "again" / "scratch").mkdir(parents=True)
    cut = kept.read_bytes().splitlines(keepends=True)
    (tmp_path / "again" / "scratch" / "answers.jsonl").write_bytes(cut[0] + cut[1][:20])
    again = made(tmp_path, given_prompts, "again")
    assert list(read_conversations(again.out)) == list(read_conversations(whole.out))
    assert len(list(_cached_parts(tmp_path / "again" / "scratch" / "answers.jsonl"))) == 3
    monkeypatch.setattr(
        "herd.align.rejection_sampling.load_transformer", lambda path: (_ for _ in ()).throw(StoppedError("asked"))
    )
    made(tmp_path, given_prompts, "again")  # all is there: no model is asked


def test_every_prompt_is_kept_or_counted(tmp_path: Path, given_prompts) -> None:
    work = made(tmp_path, given_prompts, "counted", verify=verifiers.configure("numeric_match"))
    best = list(read_conversations(work.out))
    assert len(best) + sum(work.results[DialogueCount].left_out.values()) == 133
    assert work.results[DialogueCount].left_out["it is longer than the model reads"] == 1
    assert work.results[DialogueCount].left_out["it asks for tools"] == 1
    # Nothing is known of the others, so no answer to them is known to be right.
    assert all(one.id == "known" for one in best)
    left_out = work.results[DialogueCount].left_out
    assert work.headline.startswith(f"{len(best)} answers to 133 prompts, {133 - len(best)} without one (")
    assert f"no answer was right: {left_out['no answer was right']}" in work.headline


def test_where_no_prompt_gets_an_answer_it_says_why_and_may_end(
    tmp_path: Path, given_prompts, monkeypatch, capsys
) -> None:
    monkeypatch.setitem(verifiers._plugins, "nothing", lambda prompt, answer, known: False)
    nothing = PluginConfig("verifiers", "nothing", {})
    with pytest.raises(DataError, match=r"none of 133 prompts got an answer .*no answer was right: \d"):
        made(tmp_path, given_prompts, "none", nothing, require_answers=True)
    assert not (tmp_path / "none" / "out" / "dialogues.jsonl").exists()
    work = made(tmp_path, given_prompts, "none", nothing)
    assert not list(read_conversations(work.out))
    assert "none of 133 prompts got an answer to learn from" in capsys.readouterr().out
    assert work.headline.startswith("0 answers to 133 prompts, 133 without one")
    monkeypatch.setattr("herd.align.rejection_sampling._distinct", lambda row, read: [])
    with pytest.raises(DataError, match="raise sampling.max_tokens, now 3"):
        made(tmp_path, given_prompts, "cut", require_answers=True)
