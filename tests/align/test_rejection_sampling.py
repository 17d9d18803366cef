"""Rejection sampling: who is kept and why, what a stop costs, and what the best of K is worth."""

from __future__ import annotations

import itertools
import json
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from herd.align.rejection_sampling import (
    RejectionSamplingSettings,
    _cached_parts,
    _with_system_prompt,
    rejection_sample,
    warning,
)
from herd.align.results import DialogueCount
from herd.core.artifacts import Checkpoint, Dialogues
from herd.core.errors import StoppedError
from herd.core.records import Conversation, Message
from herd.core.registry import PluginConfig
from herd.core.stage import Work
from herd.core.storage import read_conversations, write_conversations
from herd.generate.engine import SamplingParams
from herd.generate.samplers import ScriptedSampler
from herd.judge.best_of import best_of_curve, mean_of_best
from herd.judge.rubric import CODE_RUBRIC, GENERAL_RUBRIC, rubric_points
from herd.judge.verifiers import verifiers
from herd.judge.verifiers.number import last_number
from herd.run.executors import LocalExecutor
from herd.train.checkpoint import write_checkpoint
from tests.model.test_transformer import SMALL, model
from tests.tokens.test_chat import TOKENIZER


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 9)), min_size=1, max_size=7), st.data())
def test_the_best_of_k_is_the_mean_over_all_draws(pairs: list[tuple[int, int]], data: st.DataObject) -> None:
    scores, values = [float(a) for a, _ in pairs], [float(b) for _, b in pairs]
    k = data.draw(st.integers(1, len(pairs)))
    drawn = []
    for some in itertools.combinations(range(len(pairs)), k):
        most = max(scores[n] for n in some)
        alike = [values[n] for n in some if scores[n] == most]
        drawn.append(sum(alike) / len(alike))
    assert mean_of_best(scores, values, k) == pytest.approx(sum(drawn) / len(drawn))


def test_a_curve_is_about_prompts_with_every_answer() -> None:
    rows = best_of_curve([[1.0, 2.0, 3.0], [5.0]], {"gold": [[0.0, 0.0, 1.0], [1.0]]}, 3)
    assert [row["k"] for row in rows] == [1, 2, 3]
    assert rows[0] == {"k": 1, "reward": 2.0, "gold": pytest.approx(1 / 3)}
    assert rows[-1] == {"k": 3, "reward": 3.0, "gold": 1.0}
    assert best_of_curve([[1.0]], {}, 3) == []


def test_a_reward_model_that_likes_the_wrong_thing_is_told_of() -> None:
    def row(k: float, **more: float) -> dict[str, float]:
        return {"k": k, "reward": k, "tokens": 10.0, "repeats": 0.0} | more

    assert warning([row(1), row(30)]) == ""
    assert "may count words" in warning([row(1), row(30, tokens=20.0)])
    assert "repeat themselves" in warning([row(1), row(30, repeats=0.2)])
    found = warning([row(1, gold=0.80), row(2, gold=0.82), row(30, gold=0.74)])
    assert "the best of 30 is right in 74%, of 2 in 82%" in found
    assert warning([row(1, gold=0.5), row(30, gold=0.9)]) == ""


def test_numbers_are_read_as_in_gsm8k() -> None:
    assert last_number("so 12 + 3 = 15.\n#### 1,015") == 1015
    assert last_number("it is 7.50 dollars") == last_number("7.5")
    assert last_number("none") is None
    check, prompt = verifiers.get("numeric_match"), Conversation((Message("user", "?"),))
    known = Message("assistant", "#### 42")
    assert check(prompt, Message("assistant", "That makes 42."), known) is True
    assert check(prompt, Message("assistant", "41"), known) is False
    assert check(prompt, Message("assistant", "42"), None) is None
    assert check(prompt, Message("assistant", "42"), Message("assistant", "no idea")) is None
    assert (
        verifiers.get("exact_match")(prompt, Message("assistant", " Yes\nsir"), Message("assistant", "yes SIR")) is True
    )


def test_a_rubric_gives_points_or_says_that_it_has_none() -> None:
    said = {"a": "It is right. score: 3", "b": "Score: **2**", "c": "wonderful!", "d": "score: 9"}
    talk = [Conversation((Message("user", "?"), Message("assistant", text)), id=text) for text in said]
    found = rubric_points(talk, ScriptedSampler(lambda asked: said[asked.id]), GENERAL_RUBRIC)
    assert found == [1.0, 0.5, None, None]
    assert CODE_RUBRIC.points("score: 1") == 1.0
    assert "the conversation" in GENERAL_RUBRIC.ask(talk[0]).last.content


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
    tmp_path: Path, given_prompts: tuple[Checkpoint, Dialogues], name: str, verify: PluginConfig | None = None
) -> Work:
    settings = RejectionSamplingSettings(
        sampling=SamplingParams(temperature=1.0, max_tokens=3), num_samples=3, verifier=verify
    )
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
