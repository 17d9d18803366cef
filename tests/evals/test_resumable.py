"""Evaluations that keep their answers: the same score as without, and the same answers whatever interrupted them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from herd.core.errors import DataError, SettingsError
from herd.core.records import Message, ToolCall
from herd.core.registry import PluginConfig
from herd.evals.answers import AnswerStore, TaskAnswers
from herd.evals.harness import Score, TaskScore, TextScore, evaluate
from herd.evals.results_file import result_row
from herd.evals.resumable import (
    answer_of,
    count_missing,
    evaluate_into,
    limit_examples,
    model_identity,
    record_of,
    run_settings,
    stored_score,
)
from herd.evals.scores import GradedAnswer
from herd.evals.stages import evaluate_folder
from herd.evals.task import Example, Generate, Grade, LogLikelihood, ModelAnswer, Perplexity, Task
from herd.evals.tasks import tasks
from herd.generate.engine import Engine, ProgressCallback
from tests.evals.models import Scripted
from tests.evals.test_harness import ENGINE, NETWORK, SUMS, ask, counted_on, grade, grade_both, successor
from tests.serve.test_compare import chat_model
from tests.tokens.test_chat import TOKENIZER

LIKELIHOOD = LogLikelihood(lambda example: (example.target, " 0", " nothing"), "characters")
WITH_GROUPS = replace(
    Task(SUMS, ask, LIKELIHOOD),
    group=lambda example: "odd" if example.row["a"] % 2 else "even",
)
DRAWN = Task(SUMS, ask, Generate(max_tokens=6, num_samples=3, temperature=1.0, k=2, stop=("e",)), grade)


def answers_in(folder: Path, name: str = "sums", task: Task = DRAWN) -> TaskAnswers:
    use = tasks.configure("perplexity", data=__file__)
    settings = run_settings(use, task, {"name": "m"}, chat=False, template="")
    return AnswerStore(folder).open_task(replace(settings, task=name, settings={}))


def asker(engine: Engine = ENGINE, *, chat: bool = False, asked: list[int] | None = None):
    def score_part(part: Task, first: int, report: ProgressCallback) -> Score:
        if asked is not None:
            asked.append(first)
        return evaluate(engine, TOKENIZER, part, chat=chat, report=report, first_example=first)

    return score_part


@pytest.mark.parametrize("chat", [False, True])
@pytest.mark.parametrize(
    "task",
    [WITH_GROUPS, DRAWN, Task(SUMS, ask, Generate(max_tokens=5), grade), Task(SUMS, ask, Perplexity())],
    ids=["choices", "drawn", "written", "texts"],
)
def test_scores_are_those_of_an_evaluation_that_keeps_nothing(task: Task, chat: bool, tmp_path: Path) -> None:
    wanted = evaluate(ENGINE, TOKENIZER, task, chat=chat)
    told: list[tuple[int, int]] = []
    found = evaluate_into(
        answers_in(tmp_path, task=task), "sums", task, asker(chat=chat), part_answers=6, tokenizer=TOKENIZER,
        report=lambda *done: told.append(done),
    )  # fmt: skip
    if isinstance(wanted, TextScore):
        assert isinstance(found, TextScore)
        assert found.nats == pytest.approx(wanted.nats)
        assert (found.tokens, found.utf8_bytes) == (wanted.tokens, wanted.utf8_bytes)
    else:
        assert isinstance(found, TaskScore)
        assert found.scores == wanted.scores
        assert found.by_group == wanted.by_group
        assert found.truncated_share == pytest.approx(wanted.truncated_share)
        assert found.tokens == pytest.approx(wanted.tokens)
        assert [answer.text for answer in found.answers] == [answer.text for answer in wanted.answers]
    assert told[-1] == (5, 5)
    assert [count for count, _ in told] == sorted(count for count, _ in told)
    # What is there is not asked again.
    again = evaluate_into(answers_in(tmp_path, task=task), "sums", task, asker(None), tokenizer=TOKENIZER)  # type: ignore[arg-type]
    assert result_row(answers_in(tmp_path, task=task).settings(), again) == result_row(
        answers_in(tmp_path, task=task).settings(), found
    )


def test_answers_that_are_missing_are_asked_beside_the_same_others(tmp_path: Path) -> None:
    whole = answers_in(tmp_path / "whole")
    evaluate_into(whole, "sums", DRAWN, asker(), part_answers=6, tokenizer=TOKENIZER)
    lines = whole.file.read_bytes().splitlines(keepends=True)
    assert len(lines) == 15
    for left in (b"", b"".join(lines[:4]), b"".join(lines[:7]) + lines[7][:20], b"".join(lines[3:9])):
        torn = answers_in(tmp_path / f"torn-{len(left)}")
        torn.file.write_bytes(left)
        asked: list[int] = []
        torn = answers_in(tmp_path / f"torn-{len(left)}")
        evaluate_into(torn, "sums", DRAWN, asker(asked=asked), part_answers=6, tokenizer=TOKENIZER)
        assert torn.records() == whole.records()
        assert len(torn.file.read_bytes().splitlines()) == 15
    assert asked == [0, 2, 4][-len(asked) :]


def test_a_void_answer_is_tried_again(tmp_path: Path) -> None:
    state = {"up": False}

    def moody(example: Example, answer: ModelAnswer) -> Grade:
        return Grade(1.0 if state["up"] or example.id != "2" else None, reason="overloaded")

    task = Task(SUMS, ask, Generate(), moody)
    answers = answers_in(tmp_path, task=task)
    score = evaluate_into(answers, "sums", task, asker(Scripted(TOKENIZER, successor)))
    assert isinstance(score, TaskScore)
    assert score.scores == (1.0, None, 1.0, 1.0, 1.0)
    assert score.result().void == 1
    state["up"] = True
    score = evaluate_into(answers, "sums", task, asker(Scripted(TOKENIZER, successor)))
    assert isinstance(score, TaskScore)
    assert score.scores == (1.0,) * 5
    assert len(answers.file.read_text().splitlines()) == 6


def test_more_may_be_asked_later_and_what_is_there_stays(tmp_path: Path) -> None:
    answers = answers_in(tmp_path)
    few = replace(DRAWN, examples=SUMS[:2])
    assert count_missing(DRAWN, answers.records()) == 15
    evaluate_into(answers, "sums", few, asker(), part_answers=9)
    assert count_missing(DRAWN, answers.records()) == 9
    evaluate_into(answers, "sums", DRAWN, asker(), part_answers=9)
    whole = answers_in(tmp_path / "whole")
    evaluate_into(whole, "sums", DRAWN, asker(), part_answers=9)
    assert answers.records() == whole.records()
    assert isinstance(stored_score(few, answers.records()), TaskScore)


def test_a_limit_is_the_tasks_own_where_it_has_one(tmp_path: Path) -> None:
    own = tasks.configure("perplexity", data=__file__)
    assert "limit" in own.settings
    assert len(limit_examples(DRAWN, own, 2).examples) == 5
    without = PluginConfig("tasks", "sums", {})
    assert len(limit_examples(DRAWN, without, 2).examples) == 2
    assert len(limit_examples(DRAWN, without, 0).examples) == 5


def test_two_examples_of_one_id_are_refused(tmp_path: Path) -> None:
    task = replace(DRAWN, examples=[SUMS[0], SUMS[0]])
    with pytest.raises(DataError, match="two examples have the id '1'"):
        evaluate_into(answers_in(tmp_path), "sums", task, asker())


def test_what_is_written_after_the_text_and_how_long_tokens_are_is_kept() -> None:
    task = Task(SUMS[:1], ask, Generate(stop=("Q:",)), grade)
    score = evaluate(Scripted(TOKENIZER, lambda asked: " 2 and élan Q: next"), TOKENIZER, task, chat=False)
    assert isinstance(score, TaskScore)
    record = record_of("sums", score.answers[0], TOKENIZER)
    assert (record.response, record.tail, record.stop_string) == (" 2 and élan ", "Q: next", "Q:")
    assert record.raw == ""
    assert sum(record.token_lengths) == len(record.response + record.tail)
    assert len(record.token_lengths) == record.tokens
    assert record.asked == record.prompt or record.question == "after 1 comes"


def test_earlier_turns_and_calls_of_tools_come_back() -> None:
    task = Task(SUMS[:2], counted_on, Generate(stop=("\n",)), grade_both)
    score = evaluate(Scripted(TOKENIZER, lambda asked: " 2" if "and then" not in asked else " 3"), TOKENIZER, task,
                     chat=False)  # fmt: skip
    assert isinstance(score, TaskScore)
    record = record_of("sums", score.answers[0], TOKENIZER)
    assert [turn.text for turn in answer_of(record).earlier] == [" 2"]
    assert task.judge(SUMS[0], answer_of(record)).score == score.answers[0].grade.score == 1.0
    message = Message("assistant", "", (ToolCall("add", {"a": 1}),))
    called = record_of("t", GradedAnswer("1", "q", "", Grade(1.0), model_answer=ModelAnswer("", message, True)))
    assert answer_of(called, chat=True).message == message


CHILD = """
import sys, time, torch
from pathlib import Path
from tests.evals import test_resumable as own
torch.set_num_threads(1)
def slow(part, first, report):
    print(first, flush=True)
    time.sleep(0.02)
    return own.evaluate(own.ENGINE, own.TOKENIZER, part, chat=False, first_example=first)
answers = own.answers_in(Path(sys.argv[1]))
own.evaluate_into(answers, "sums", own.DRAWN, slow, part_answers=3, tokenizer=own.TOKENIZER)
"""


def test_what_is_killed_goes_on_to_the_same_answers(tmp_path: Path) -> None:
    whole = answers_in(tmp_path / "whole")
    evaluate_into(whole, "sums", DRAWN, asker(), part_answers=3, tokenizer=TOKENIZER)
    root = str(Path(__file__).parents[2])
    child = subprocess.Popen(
        [sys.executable, "-c", CHILD, str(tmp_path / "killed")],
        cwd=root, env={**os.environ, "PYTHONPATH": root}, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert child.stdout is not None
    for _ in range(3):
        child.stdout.readline()
    child.send_signal(signal.SIGKILL)
    child.wait()
    child.stdout.close()
    killed = answers_in(tmp_path / "killed")
    assert 0 < len(killed.records()) < 15
    evaluate_into(killed, "sums", DRAWN, asker(), part_answers=3, tokenizer=TOKENIZER)
    assert killed.records() == whole.records()


def test_a_folder_of_a_model_is_measured_with_its_answers_kept(tmp_path: Path) -> None:
    model = chat_model(tmp_path / "model")
    rows = tmp_path / "sums.jsonl"
    rows.write_text("".join(json.dumps({"question": f"{a} + 1", "answer": str(a + 1)}) + "\n" for a in range(7)))
    use = tasks.configure("short_answer", data=str(rows), max_tokens=4)
    told: list[tuple[str, Score]] = []
    store = AnswerStore(tmp_path / "out")

    def measure(**how) -> Score:
        evaluate_folder(model, [use], lambda *row: told.append(row), device="cpu", **how)
        return told[-1][1]

    plain, stored = measure(), measure(store=store)
    assert isinstance(plain, TaskScore)
    assert isinstance(stored, TaskScore)
    assert stored.scores == plain.scores
    row = json.loads((tmp_path / "out" / "results.json").read_text())
    assert row["results"]["short_answer"]["score,none"] == plain.interval.value
    assert row["n-samples"]["short_answer"] == {"original": 7, "effective": 7}
    assert row["n-shot"]["short_answer"] == 0
    record = store.tasks()["short_answer"].records()["sums.jsonl/1", 0]
    assert record.question == "0 + 1"
    assert "0 + 1" in record.prompt
    assert record.prompt != record.question
    # Everything is there: the model is not even read.
    (model / "model.safetensors").rename(model / "weights.away")
    identity = store.tasks()["short_answer"].settings().model
    assert identity["name"] == "model"
    assert model_identity(model, "fp32") != identity
    (model / "weights.away").rename(model / "model.safetensors")
    assert model_identity(model, "fp32") == identity
    assert model_identity(model, "bf16") != identity
    # Fewer of the same examples are no other settings.
    few = tasks.configure("short_answer", data=str(rows), max_tokens=4, limit=3)
    evaluate_folder(model, [few], lambda *row: told.append(row), device="cpu", store=store)
    assert isinstance(told[-1][1], TaskScore)
    assert len(told[-1][1].scores) == 3
    other = tasks.configure("short_answer", data=str(rows), max_tokens=5)
    with pytest.raises(SettingsError, match="max_tokens"):
        evaluate_folder(model, [other], lambda *row: None, device="cpu", store=store)


def test_engines_draw_parts_as_the_whole() -> None:
    assert NETWORK.shape.max_seq_len == 64
    whole = evaluate(ENGINE, TOKENIZER, DRAWN, chat=False)
    part = evaluate(ENGINE, TOKENIZER, replace(DRAWN, examples=SUMS[3:]), chat=False, first_example=3)
    assert isinstance(whole, TaskScore)
    assert isinstance(part, TaskScore)
    assert [answer.answer for answer in part.answers] == [answer.answer for answer in whole.answers[9:]]
