"""What benchmarks have in common: flat settings, the shots lm-eval draws, prompts of both kinds."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest

from herd.core.errors import DataError, SettingsError
from herd.core.records import Message
from herd.evals.benchmarks import (
    SOURCES,
    BenchmarkSettings,
    GenerationSettings,
    Layout,
    as_grade,
    load_questions,
)
from herd.evals.datasets import BenchmarkData, RowForm
from herd.evals.task import Generate, Grade
from herd.evals.tasks import tasks
from herd.judge.verdict import AnswerVerdict

SUMS = BenchmarkData(
    "someone/sums",
    (RowForm(("question", "answer"), lambda row, file: dict(row)),),
    sizes={"test": 6, "train": 8},
)
LAYOUT = Layout(lambda row: f"Q: {row['question']}\nA:", lambda row: row["answer"])


def written(folder: Path, **splits: int) -> str:
    for split, count in splits.items():
        rows = [{"question": f"{split} {n}", "answer": f"{n}", "half": "ab"[n % 2]} for n in range(count)]
        (folder / f"{split}.jsonl").write_text("\n".join(map(json.dumps, rows)))
    return str(folder)


def loaded(folder: Path, *, group: Any = None, shots: int = 0, first: bool = False, **own: Any) -> Any:
    settings = BenchmarkSettings(data=str(folder), **own)
    return load_questions(
        settings, SUMS, split="test", fewshot_split="train", num_fewshot=shots, first_shots=first, group=group
    )


def test_shots_are_those_that_lm_eval_draws(tmp_path: Path) -> None:
    """Its sampler goes on from question to question with one generator of its seed, 1234."""
    written(tmp_path, test=6, train=8)
    questions = loaded(tmp_path, shots=3)
    rng = random.Random(1234)
    for row in questions.rows:
        wanted = [f"train {n}" for n in rng.sample(range(8), 3)]
        assert [shot["question"] for shot in questions.shots[row["id"]]] == wanted
    part = loaded(tmp_path, shots=3, limit=2)
    assert all(part.shots[row["id"]] == questions.shots[row["id"]] for row in part.rows)
    assert loaded(tmp_path, shots=3, fewshot_seed=1).shots != questions.shots
    fixed = loaded(tmp_path, shots=2, first=True)
    assert {tuple(shot["question"] for shot in shown) for shown in fixed.shots.values()} == {("train 0", "train 1")}


def test_without_a_split_of_their_own_shots_are_other_questions(tmp_path: Path) -> None:
    written(tmp_path, test=6)
    questions = loaded(tmp_path, shots=3)
    assert any("for want of a split" in note for note in questions.notes)
    for row in questions.rows:
        shown = [shot["id"] for shot in questions.shots[row["id"]]]
        assert len(set(shown)) == 3
        assert row["id"] not in shown
    with pytest.raises(DataError, match="6 shots are wanted and there are 6; set num_fewshot lower"):
        loaded(tmp_path, shots=6)


def test_a_limit_is_shared_by_groups_and_subsets_are_groups(tmp_path: Path) -> None:
    written(tmp_path, test=6, train=8)
    half = lambda row: row["half"]  # noqa: E731
    assert [row["half"] for row in loaded(tmp_path, group=half, limit=4).rows] == ["a", "b", "a", "b"]
    assert {row["half"] for row in loaded(tmp_path, group=half, subsets=("a",)).rows} == {"a"}
    shown = loaded(tmp_path, group=half, shots=2).shots
    for row in loaded(tmp_path, group=half).rows:
        assert {shot["half"] for shot in shown[row["id"]]} == {row["half"]}
    with pytest.raises(DataError, match="there is no subset 'c'; there are a, b"):
        loaded(tmp_path, group=half, subsets=("c",))
    assert loaded(tmp_path, limit=2).notes == ("2 of 6 were asked",)


def test_exemplars_of_a_file_stand_in_place_of_the_datas(tmp_path: Path) -> None:
    written(tmp_path, test=6, train=8)
    file = tmp_path / "mine.jsonl"
    file.write_text(json.dumps({"question": "mine", "answer": "7"}))
    own = GenerationSettings(data=str(tmp_path), exemplars=str(file))
    found = load_questions(own, SUMS, split="test", fewshot_split="train", num_fewshot=1)
    assert {shown[0]["question"] for shown in found.shots.values()} == {"mine"}
    with pytest.raises(DataError, match="2 shots are wanted and the exemplars are 1"):
        load_questions(own, SUMS, split="test", num_fewshot=2)


def test_a_question_after_its_shots_in_text_and_as_turns() -> None:
    shots = [{"question": "1", "answer": "2"}]
    prompt = LAYOUT.prompt({"id": "x", "question": "3"}, shots)
    assert prompt.plain == "Q: 1\nA: 2\n\nQ: 3\nA:"
    assert prompt.chat.messages == (Message("user", "Q: 1\nA:"), Message("assistant", "2"), Message("user", "Q: 3\nA:"))
    begun = Layout(LAYOUT.question, LAYOUT.answer, lambda row: "Sums.\n\n", "It is").prompt(
        {"id": "x", "question": "3"}, shots, "Be brief."
    )
    assert begun.text == "Be brief.\n\nSums.\n\nQ: 1\nA: It is 2\n\nQ: 3\nA: It is"
    assert begun.chat.messages[0] == Message("system", "Be brief.\n\nSums.\n\n")
    assert begun.chat.messages[2] == Message("assistant", "It is 2")
    told = LAYOUT.prompt({"id": "x", "question": "3"}, [], "Be brief.")
    assert told.plain == "Be brief.\n\nQ: 3\nA:"


def test_what_is_written_is_as_the_benchmark_has_it_unless_settings_say_so() -> None:
    assert GenerationSettings().generation(9, ("Q:",)) == Generate(9, ("Q:",), chat_stop=("Q:",))
    assert GenerationSettings().generation(9, ("Q:",), chat_stop=()) == Generate(9, ("Q:",))
    own = GenerationSettings(max_tokens=5, stop=("!",), num_samples=4, temperature=0.8, top_p=0.9, k=2)
    assert own.generation(9, ("Q:",), chat_stop=()) == Generate(5, ("!",), 4, 0.8, 0.9, 2, chat_stop=("!",))
    assert (GenerationSettings().shots(5, 8), GenerationSettings(prompt_style="llama3").shots(5, 8)) == (5, 8)
    assert GenerationSettings(num_fewshot=0).shots(5, 8) == 0


def test_settings_of_a_benchmark_are_flat_and_checked_when_it_is_named(tmp_path: Path) -> None:
    assert "gsm8k" in tasks.all()
    assert set(SOURCES) <= set(tasks.all())
    config = tasks.configure("gsm8k", limit=3, stop=("x",))
    assert tasks.parse(json.loads(json.dumps(tasks.dump(config)))) == config
    with pytest.raises(SettingsError, match="is not a setting"):
        tasks.configure("gsm8k", shots=3)
    with pytest.raises(SettingsError, match="prompt_style"):
        tasks.configure("gsm8k", prompt_style="llama2")
    with pytest.raises(SettingsError, match="missing.jsonl"):
        tasks.configure("gsm8k", data=str(tmp_path / "missing.jsonl"))


def test_a_verdict_becomes_a_grade() -> None:
    verdict = AnswerVerdict(0.5, "x", "why", True, {"f1": 0.5})
    assert as_grade(verdict, {"em": 0.0}) == Grade(0.5, "x", "why", True, {"f1": 0.5, "em": 0.0})
