"""Critiques: what a critic reads and writes, and whom it is asked about."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from herd.core.artifacts import Checkpoint
from herd.core.records import Conversation, Message
from herd.generate.engine import SamplingParams
from herd.judge.critic import ASK, Critic, criticize_answers, with_critique
from herd.train.checkpoint import write_checkpoint
from tests.align.test_critiques import ranked
from tests.model.test_transformer import SMALL, model
from tests.tokens.test_chat import TOKENIZER


@pytest.fixture(scope="module")
def critic(tmp_path_factory: pytest.TempPathFactory) -> Critic:
    folder = tmp_path_factory.mktemp("critic")
    shape = replace(SMALL, vocab_size=TOKENIZER.vocab_size, max_seq_len=256)
    write_checkpoint(folder, model(shape), TOKENIZER, kind="chat")
    return Critic(Checkpoint(folder), device="cpu", max_tokens=6)


def answered(text: str) -> Conversation:
    return Conversation((Message("user", "hello"), Message("assistant", text)), id=text[:9])


def test_every_answer_is_criticized_and_only_answers_are() -> None:
    found = criticize_answers(ranked(1, edited=True), lambda answered: f"heard: {answered.last.content}")
    assert [answer[2].content for answer in found.ranked_answers] == [
        f"heard: {answer[0].content}" for answer in ranked(1, edited=True).ranked_answers
    ]
    assert criticize_answers(ranked(0), lambda answered: "x").edited == ()


def test_what_is_said_of_an_answer_follows_a_question_about_it() -> None:
    said = with_critique(answered("yes"), "It is right.")
    assert [(one.role, one.content) for one in said.messages[2:]] == [
        ("user", ASK.content),
        ("assistant", "It is right."),
    ]
    assert said.id == "yes"
    found = criticize_answers(ranked(1, edited=True), lambda heard: f"heard {len(heard.messages)}")
    assert found.prompt == ranked(1, edited=True).prompt
    assert len(found.edited) == len(found.chosen) == len(found.rejected) == 3


def asked_rows(critic: Critic, monkeypatch: pytest.MonkeyPatch) -> list[tuple[list[list[int]], SamplingParams]]:
    """What the engine is asked from now on; it answers as ever."""
    asked: list[tuple[list[list[int]], SamplingParams]] = []
    generate = critic._engine.generate

    def noted(rows: Sequence[Sequence[int]], params: SamplingParams, **how: Any) -> Any:
        asked.append(([list(row) for row in rows], params))
        return generate(rows, params, **how)

    monkeypatch.setattr(critic._engine, "generate", noted)
    return asked


def test_equal_answers_are_read_once_and_too_long_ones_never(critic: Critic, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = asked_rows(critic, monkeypatch)
    talks = [answered("yes"), answered("no " * 400), answered("no"), answered("yes")]
    found = critic.criticize(talks)
    ((rows, params),) = asked
    assert len(rows) == 2
    assert (params.temperature, params.max_tokens) == (0.0, 6)
    assert found[1] is None
    assert found[0] == found[3]
    assert found == [*critic.criticize([talks[0]]), None, *critic.criticize([talks[2]]), found[0]]
    text = TOKENIZER.decode(rows[0])
    assert ASK.content in text
    assert "yes" in text


def test_what_is_drawn_belongs_to_its_answer(critic: Critic, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = asked_rows(critic, monkeypatch)
    talks = [answered("no " * 400), answered("yes"), answered("no")]
    found = critic.sample(talks, 3, SamplingParams(temperature=1.0, max_tokens=99))
    assert [len(said) for said in found] == [0, 3, 3]
    ((rows, params),) = asked
    assert (len(rows), params.n, params.max_tokens, params.temperature) == (2, 3, 6, 1.0)
    # Cold, every draw is what it reads.
    cold = critic.sample(talks, 2, SamplingParams(temperature=0.0))
    assert cold == [[], *([said] * 2 for said in critic.criticize(talks)[1:])]
