"""A round on a model and rows of one's own."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from herd.align.loading import load_dialogues, load_pretrained
from herd.align.results import DialogueCount
from herd.core.errors import ArtifactError, DataError, SettingsError
from herd.core.recipe import load_recipe
from herd.core.stage import Work
from herd.core.storage import read_conversations
from herd.judge.verifiers import verifiers
from herd.recipes import recipes
from herd.run.executors import LocalExecutor
from herd.run.runner import run_stages
from herd.serve.folders import artifacts_in
from herd.train.checkpoint import write_checkpoint
from tests.model.test_transformer import SMALL, model
from tests.tokens.test_chat import TOKENIZER


def rows(file: Path, found: list[dict]) -> str:
    file.write_text("".join(json.dumps(row) + "\n" for row in found))
    return str(file)


@pytest.fixture
def own(tmp_path: Path) -> Path:
    """A recipe for a model of random weights, whose every answer is right."""
    from dataclasses import replace

    (tmp_path / "model").mkdir()
    write_checkpoint(
        tmp_path / "model",
        model(replace(SMALL, vocab_size=TOKENIZER.vocab_size, max_seq_len=256)),
        TOKENIZER,
        kind="chat",
    )
    problems = rows(tmp_path / "problems.jsonl", [{"question": f"{n}?", "answer": f"#### {n}"} for n in range(9)])
    ranked = rows(
        tmp_path / "ranked.jsonl", [{"prompt": f"{n}?", "chosen": f"{n}", "rejected": "no"} for n in range(12)]
    )
    # A verifier for answers of random weights.
    (tmp_path / "mine.yaml").write_text(
        f"""recipe: one_round
model: {tmp_path / "model"}
problems: [{problems}]
tests: [{problems}]
preferences: [{ranked}]
max_samples: 8
max_tests: 3
prompt_suffix: " Say a number."
verifier: anything
sampling: {{temperature: 1.5, max_tokens: 60}}
num_samples: 20
sft: {{length: 128, batch_size: 1, epochs: 1, lr: 2.0e-4, lora: {{rank: 2}}}}
"""
    )
    return tmp_path


@pytest.fixture
def anything(monkeypatch: pytest.MonkeyPatch) -> None:
    """A verifier that finds every answer right."""
    assert "numeric_match" in verifiers.all()
    monkeypatch.setitem(verifiers._plugins, "anything", lambda prompt, answer, known: True)


def test_a_round_runs_to_its_report(own: Path, anything) -> None:
    target = load_recipe(str(own / "mine.yaml"), recipes).plan()
    made = run_stages(target, own / "run", jobs=0)
    page = (made.path / "report.html").read_text()
    found = [one.metadata for one in artifacts_in(own / "run")]
    stages = [card["stage"] for card in found]
    assert sorted(set(stages)) == sorted(
        [
            "load_pretrained",
            "load_preferences",
            "load_dialogues",
            "train_reward",
            "rejection_sample",
            "sft",
            "dpo",
            "select_best_model",
            "write_report",
        ]
    )
    (pairs,) = (card["results"]["PreferenceCount"]["pairs"] for card in found if card["stage"] == "load_preferences")
    assert pairs == 8
    told = [card["headline"] for card in found if card["stage"] == "rejection_sample"]
    assert len(told) == 1
    assert all("100% of all answers right" in one for one in told)
    assert "Round against round" in page


def test_what_is_not_said_is_asked_for() -> None:
    with pytest.raises(SettingsError, match="model is not said"):
        load_recipe("one_round", recipes)


def work(folder: Path) -> Work:
    for name in ("out", "scratch"):
        (folder / name).mkdir(parents=True)
    return Work(folder / "out", folder / "scratch", LocalExecutor())


def test_a_model_is_brought_whole_or_not_at_all(own: Path, tmp_path: Path) -> None:
    made = load_pretrained.body(work(tmp_path / "good"), folder=str(own / "model"))
    assert (made.path / "model.safetensors").read_bytes() == (own / "model" / "model.safetensors").read_bytes()
    with pytest.raises(ArtifactError, match="is no folder"):
        load_pretrained.body(work(tmp_path / "file"), folder=str(own / "mine.yaml"))


def test_the_first_rows_are_kept_and_asked_in_a_form(own: Path, tmp_path: Path) -> None:
    done = work(tmp_path / "rows")
    made = load_dialogues.body(
        done, files=(str(own / "problems.jsonl"),), max_samples=2, prompt_suffix=" Say a number."
    )
    found = list(read_conversations(made.path))
    assert [one.messages[0].content for one in found] == ["0? Say a number.", "1? Say a number."]
    assert found[1].last.content == "#### 1"


def test_rows_that_hold_a_question_of_the_tests_are_left_out_and_counted(own: Path, tmp_path: Path) -> None:
    problems = (str(own / "problems.jsonl"),)
    some = load_dialogues.body(work(tmp_path / "some"), files=problems, max_samples=1)
    every = load_dialogues.body(work(tmp_path / "every"), files=problems)
    done = work(tmp_path / "rows")
    made = load_dialogues.body(done, some, files=problems)
    left, all_rows = (len(list(read_conversations(one.path))) for one in (made, every))
    assert left == all_rows - 1
    assert done.results[DialogueCount].left_out == {"a question of the tests": 1}
    with pytest.raises(DataError, match="every row holds a question of the tests"):
        load_dialogues.body(work(tmp_path / "none"), every, files=problems)


def test_rows_of_another_kind_are_told_while_planning(own: Path, anything) -> None:
    rows(own / "ranked.jsonl", [{"chosen": "a", "worse": "b"}])
    with pytest.raises(DataError, match="did you mean it by 'worse'"):
        load_recipe(str(own / "mine.yaml"), recipes).plan()
