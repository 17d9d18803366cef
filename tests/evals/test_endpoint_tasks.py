"""Tasks put to an address: written as by our engine, likeliest as by it, void where the server was away."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import pytest

from herd.core.errors import HerdError
from herd.evals.endpoint import Endpoint
from herd.evals.endpoint_tasks import evaluate_endpoint
from herd.evals.harness import TaskScore, TextScore
from herd.evals.resumable import evaluate_into
from herd.evals.task import Generate, LogLikelihood, Perplexity, Task
from tests.evals.servers import FakeServer, chat_reply, echo_reply
from tests.evals.test_harness import SUMS, ask, counted_on, grade, grade_both, successor
from tests.evals.test_resumable import answers_in


def endpoint(server: FakeServer, **settings) -> Endpoint:
    return Endpoint(server.address, "small", api_key_env="", wait=lambda seconds: None, max_attempts=2, **settings)


def say(route: str, body: dict):
    if route == "/chat/completions":
        return 200, {}, chat_reply(successor(body["messages"][-1]["content"]))
    return 200, {}, {"choices": [{"text": successor(body["prompt"]), "finish_reason": "stop"}]}


@pytest.mark.parametrize("chat", [True, False])
def test_written_answers_are_graded_in_order(chat: bool) -> None:
    task = replace(Task(SUMS, ask, Generate(max_tokens=7, stop=("Q",)), grade), group=lambda example: example.id)
    told: list[tuple[int, int]] = []
    with FakeServer(say).running() as server:
        score = evaluate_endpoint(endpoint(server), task, chat=chat, report=lambda *row: told.append(row))
    assert isinstance(score, TaskScore)
    assert score.scores == (1.0,) * 5
    assert [answer.example for answer in score.answers] == ["1", "2", "3", "4", "5"]
    assert told[-1] == (5, 5)
    assert score.by_group["3"] == [1.0]
    body = server.asked[0][1]
    assert body["max_tokens"] == 7
    assert body.get("stop") == (None if chat else ["Q"])
    assert ("messages" in body) == chat
    assert "after 1 comes" in score.answers[0].full_prompt


def test_turns_and_samples() -> None:
    def counting(route: str, body: dict):
        texts = [message["content"] for message in body["messages"]]
        return 200, {}, chat_reply(successor(texts[0]) if len(texts) == 1 else str(int(texts[1]) + 1))

    task = Task(SUMS[:2], counted_on, Generate(num_samples=2, temperature=0.5, k=2), grade_both)
    with FakeServer(counting).running() as server:
        score = evaluate_endpoint(endpoint(server), task, chat=True)
    assert isinstance(score, TaskScore)
    assert score.scores == (1.0, 1.0)
    assert [answer.sample for answer in score.answers] == [0, 1, 0, 1]
    assert sorted({body["seed"] for _, body, _ in server.asked}) == [0, 1]
    assert len(server.asked) == 8


def test_choices_are_those_of_the_log_probabilities() -> None:
    task = Task(SUMS, ask, LogLikelihood(lambda example: (" 0", example.target, " 99"), "tokens"))

    def score_letters(route: str, body: dict):
        prompt = body["prompt"]
        right = "after " in prompt and prompt.endswith(successor(prompt))
        return 200, {}, echo_reply(prompt, lambda place, token: -0.25 if right else -1.0)

    with FakeServer(score_letters).running() as server:
        score = evaluate_endpoint(endpoint(server), task, chat=False)
        pmi = Task(SUMS[:1], ask, LogLikelihood(lambda example: (" 0", example.target), "pmi"))
        alone = evaluate_endpoint(endpoint(server), pmi, chat=False)
    assert isinstance(score, TaskScore)
    assert isinstance(alone, TaskScore)
    assert score.scores == (1.0,) * 5
    assert score.answers[0].log_likelihoods == (-2.0, -0.5, -3.0)
    assert score.answers[0].choice_tokens == (2, 2, 3)
    assert alone.answers[0].unconditional == (-2.0, -2.0)


def test_texts_are_measured_in_bits() -> None:
    task = Task(SUMS[:2], ask, Perplexity())
    with FakeServer(lambda route, body: (200, {}, echo_reply(body["prompt"], lambda *_: -math.log(2)))).running() as (
        server
    ):
        score = evaluate_endpoint(endpoint(server), task, chat=False)
    assert isinstance(score, TextScore)
    assert score.tokens == (12, 12)
    assert score.interval.value == pytest.approx(12 / 13)


def test_what_failed_is_void_and_asked_again_when_it_goes_on(tmp_path: Path) -> None:
    state = {"down": True}

    def moody(route: str, body: dict):
        if state["down"] and "after 2 " in body["messages"][-1]["content"]:
            return 503, {}, {}
        return say(route, body)

    task = Task(SUMS, ask, Generate(), grade)
    answers = answers_in(tmp_path, task=task)
    with FakeServer(moody).running() as server:

        def score_part(part: Task, first: int, report):
            return evaluate_endpoint(endpoint(server), part, chat=True, report=report)

        score = evaluate_into(answers, "sums", task, score_part)
        assert isinstance(score, TaskScore)
        assert score.scores == (1.0, None, 1.0, 1.0, 1.0)
        assert "no answer in 2 tries" in json.dumps([record.to_row() for record in answers.records().values()])
        state["down"] = False
        score = evaluate_into(answers, "sums", task, score_part)
        assert isinstance(score, TaskScore)
        assert score.scores == (1.0,) * 5


def test_a_server_that_gives_nothing_is_no_score() -> None:
    with (
        FakeServer(lambda route, body: (503, {}, {})).running() as server,
        pytest.raises(HerdError, match="check that the server is up"),
    ):
        evaluate_endpoint(endpoint(server), Task(SUMS, ask, Generate(), grade), chat=True)
