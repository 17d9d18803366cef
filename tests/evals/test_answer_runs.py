"""Folders of answers as runs: what is graded again is graded as the other run's task would."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from herd.evals.answer_runs import prompt_causes, stored_runs
from herd.evals.answers import AnswerStore
from herd.evals.comparison import compare_runs
from herd.evals.harness import evaluate
from herd.evals.replay import ReplayedAnswer
from herd.evals.resumable import evaluate_into, run_settings
from herd.evals.tasks import tasks
from tests.evals.models import Scripted
from tests.evals.test_comparison import points_of
from tests.evals.test_harness import ENGINE
from tests.tokens.test_chat import TOKENIZER


def stored(folder: Path, name: str, engine, model: str, **settings) -> Path:
    """A folder with the answers of an engine to a task with these settings."""
    use = tasks.configure(name, **settings)
    task = tasks.make(use)()
    settings_of = run_settings(use, task, {"name": model}, chat=False, template="")
    evaluate_into(
        AnswerStore(folder).open_task(settings_of), name, task,
        lambda part, first, report: evaluate(engine, TOKENIZER, part, chat=False, first_example=first),
        tokenizer=TOKENIZER,
    )  # fmt: skip
    return folder


@pytest.fixture
def sums(tmp_path: Path) -> str:
    file = tmp_path / "sums.jsonl"
    file.write_text("".join(json.dumps({"question": f"{a} + 1", "answer": str(a + 1)}) + "\n" for a in range(10)))
    return str(file)


def say(asked: str) -> str:
    """Right by the last number for five of ten, and by the whole text for three of these."""
    a = int(asked.split("Question: ")[-1].split(" +")[0])
    return str(a + 1) if a < 3 else f"It is {a + 1}" if a < 5 else "no number"


def test_another_verifier_is_the_part_of_extraction(sums: str, tmp_path: Path) -> None:
    engine = Scripted(TOKENIZER, say)
    first = stored(tmp_path / "a", "short_answer", engine, "m", data=sums)
    exact = tasks.parse({"short_answer": {"data": sums, "verifier": "exact_match"}}).settings["verifier"]
    second = stored(tmp_path / "b", "short_answer", engine, "m", data=sums, verifier=exact)
    runs = [stored_runs(folder)["short_answer"] for folder in (first, second)]
    assert [run.label for run in runs] == ["a", "b"]
    found = compare_runs(runs[0], runs[1])
    assert points_of(found) == {"extraction": pytest.approx(-20)}
    # Without the data nothing can be graded again, and that is said.
    Path(sums).unlink()
    runs = [stored_runs(folder)["short_answer"] for folder in (first, second)]
    found = compare_runs(runs[0], runs[1])
    assert points_of(found) == {"other draws and extraction": pytest.approx(-20)}
    assert any("cannot be graded again" in note for note in found.notes)


def test_shots_and_tokens_are_told_from_settings(sums: str, tmp_path: Path) -> None:
    first = stored(tmp_path / "a", "short_answer", Scripted(TOKENIZER, say), "m", data=sums, num_fewshot=1)
    second = stored(tmp_path / "b", "short_answer", Scripted(TOKENIZER, say), "m", data=sums, max_tokens=9)
    found = compare_runs(*(stored_runs(folder)["short_answer"] for folder in (first, second)))  # type: ignore[arg-type]
    assert {part.name for part in found.parts} >= {"shots", "token limit"}
    assert prompt_causes({"num_fewshot": 3})["shots"] == [3, None, None]


def test_choices_are_weighed_as_the_other_run_does(tmp_path: Path) -> None:
    rows = [{"question": f"{a}?", "choices": ["yes", "a very long answer to it", "no"], "answer": a % 3} for a in
            range(12)]  # fmt: skip
    file = tmp_path / "rows.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    folders = [
        stored(tmp_path / name, "multiple_choice", ENGINE, "m", data=str(file), choice_format="text", normalize=name)
        for name in ("none", "characters", "tokens")
    ]
    runs = [stored_runs(folder)["multiple_choice"] for folder in folders]
    for first in runs:
        for second in runs:
            found = compare_runs(first, second)
            wanted = {"extraction": pytest.approx(found.gap)} if found.gap else {}
            assert points_of(found) == wanted
            for name, (record,) in first.records.items():
                grade = second.regrade(record, ReplayedAnswer("", False))
                assert grade is not None
                assert grade.score == second.records[name][0].score
    # Letters were never scored, so that they cannot be weighed.
    letters = stored_runs(stored(tmp_path / "l", "multiple_choice", ENGINE, "m", data=str(file)))["multiple_choice"]
    record = next(iter(runs[0].records.values()))[0]
    assert letters.regrade(record, ReplayedAnswer("", False)) is None


def test_calls_of_tools_are_not_cut(sums: str, tmp_path: Path) -> None:
    run = stored_runs(stored(tmp_path / "a", "short_answer", Scripted(TOKENIZER, say), "m", data=sums))["short_answer"]
    record = replace(run.records["sums.jsonl/1"][0], message={"role": "assistant", "content": "1"}, response="1")
    whole = run.regrade(record, ReplayedAnswer("1", False))
    assert whole is not None
    assert whole.score == 1.0
    assert run.regrade(record, ReplayedAnswer("", False)) is None
    assert run.regrade(replace(record, id="unknown"), ReplayedAnswer("1", False)) is None


def test_a_style_of_prompts_reads_answers_in_its_own_way(tmp_path: Path) -> None:
    file = tmp_path / "gsm8k.jsonl"
    file.write_text("".join(json.dumps({"question": f"{a} + 1", "answer": f"#### {a + 1}"}) + "\n" for a in range(8)))

    def hashes(asked: str) -> str:
        return f"#### {int(asked.split(' + ')[0].split()[-1]) + 1}"

    own = {"data": str(file), "num_fewshot": 0}
    first = stored(tmp_path / "a", "gsm8k", Scripted(TOKENIZER, hashes), "m", **own)
    second = stored(tmp_path / "b", "gsm8k", Scripted(TOKENIZER, hashes), "m", **own, prompt_style="llama3")
    found = compare_runs(*(stored_runs(folder)["gsm8k"] for folder in (first, second)))  # type: ignore[arg-type]
    assert (found.first.value, found.second.value) == (1.0, 0.0)
    assert points_of(found) == {"extraction": pytest.approx(-100)}


def test_exemplars_are_shots_and_no_way_of_grading(tmp_path: Path) -> None:
    rows, exemplars = tmp_path / "gsm8k.jsonl", tmp_path / "shots.jsonl"
    rows.write_text("".join(json.dumps({"question": f"{a} + 1", "answer": f"#### {a + 1}"}) + "\n" for a in range(8)))
    exemplars.write_text('{"question": "9 + 9", "target": "#### 18"}\n')
    own = {"data": str(rows), "num_fewshot": 1}
    folders = [
        stored(tmp_path / "a", "gsm8k", Scripted(TOKENIZER, lambda asked: "#### 1"), "m", **own),
        stored(tmp_path / "b", "gsm8k", Scripted(TOKENIZER, lambda asked: ""), "m", **own, exemplars=str(exemplars)),
    ]
    found = compare_runs(*(stored_runs(folder)["gsm8k"] for folder in folders))  # type: ignore[arg-type]
    assert [part.name for part in found.parts] == ["shots"]
    settings = AnswerStore(folders[0]).tasks()["gsm8k"].settings()
    assert settings.prompt["num_fewshot"] == 1
    styled = stored(tmp_path / "c", "gsm8k", Scripted(TOKENIZER, lambda asked: ""), "m", data=str(rows))
    assert AnswerStore(styled).tasks()["gsm8k"].settings().prompt["num_fewshot"] == 5
