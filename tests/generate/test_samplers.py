"""Answers from a server elsewhere."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from herd.core.errors import HerdError
from herd.core.records import Conversation, Message
from herd.generate.engine import SamplingParams
from herd.generate.samplers import EndpointSampler, EngineSampler, FirstRankSampler, ScriptedSampler
from herd.model.collectives import RankGroup
from herd.model.transformer import Transformer
from herd.tokens import bpe
from herd.train.checkpoint import write_checkpoint
from tests.generate.answering import answering
from tests.model.test_collectives import Ranks
from tests.model.test_transformer import SMALL


def asked(text: str) -> Conversation:
    return Conversation((Message("system", "Be brief."), Message("user", text)))


def test_answers_come_in_the_order_of_the_questions(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OWN_KEY", "secret")
    seen: list[dict[str, Any]] = []

    def answer(body: dict[str, Any]) -> str:
        seen.append(body)
        return body["messages"][-1]["content"].upper()

    with answering(answer) as url:
        sampler = EndpointSampler(url, "some-model", api_key_env="OWN_KEY", max_tokens=7)
        assert sampler.sample([asked(f"question {k}") for k in range(20)]) == [f"QUESTION {k}" for k in range(20)]
    assert {(one["path"], one["key"], one["model"], one["max_tokens"]) for one in seen} == {
        ("/v1/chat/completions", "Bearer secret", "some-model", 7)
    }
    assert seen[0]["messages"][0] == {"role": "system", "content": "Be brief."}


def test_a_busy_server_is_asked_again() -> None:
    states: Iterator[str | int] = iter([429, "late"])
    with answering(lambda _: next(states)) as url:
        assert EndpointSampler(url, "m").sample([asked("x")]) == ["late"]


def test_a_server_that_refuses_is_told() -> None:
    with answering(lambda _: 404) as url, pytest.raises(HerdError, match="refused a request with status 404"):
        EndpointSampler(url, "m").sample([asked("x")])


def test_our_own_engine_answers_conversations(tmp_path: Path) -> None:
    made = bpe.train_bpe(iter(["hello there system user assistant"] * 20), vocab_size=270, digits_together=False)
    model = Transformer(replace(SMALL, vocab_size=made.vocab_size))
    write_checkpoint(tmp_path, model, made, kind="chat")
    sampler = EngineSampler(tmp_path, SamplingParams(max_tokens=4))
    answers = sampler.sample([asked("hello"), asked("there")])
    assert len(answers) == 2
    assert answers == sampler.sample([asked("hello"), asked("there")])
    assert ScriptedSampler(lambda one: one.last.content.upper()).sample([asked("hello")]) == ["HELLO"]


def test_of_several_ranks_the_first_asks_a_server_and_tells_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    ranks: list[int] = []

    def ask(rank: int) -> list[str]:
        sampler = ScriptedSampler(lambda conversation: ranks.append(rank) or f"to {conversation.last.content}")
        questions = [Conversation((Message("user", f"{number}"),)) for number in range(3)]
        return FirstRankSampler(sampler, RankGroup.joined()).sample(questions)

    assert Ranks(3).run(monkeypatch, ask) == [["to 0", "to 1", "to 2"]] * 3
    assert ranks == [0, 0, 0]


def test_an_endpoint_tells_how_many_are_answered() -> None:
    reports: list[tuple[int, int]] = []
    with answering(lambda body: "yes") as url:
        sampler = EndpointSampler(url, "any", report=lambda count, total: reports.append((count, total)))
        assert sampler.sample([asked("so?")] * 3) == ["yes"] * 3
    assert reports == [(1, 3), (2, 3), (3, 3)]
