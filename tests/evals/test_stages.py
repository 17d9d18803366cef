"""The stage that measures: what it writes down, what it leaves out, and what it refuses."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from herd.core.artifacts import Checkpoint, Tokenizer, Tokens
from herd.core.errors import SettingsError
from herd.core.results import results
from herd.evals.harness import Score, TaskScore, gold_nll
from herd.evals.results import EvaluationResult, TaskResult
from herd.evals.stages import EvaluationSettings, evaluate_folder, evaluate_model, run_needle_test, run_task
from herd.evals.tasks import tasks
from herd.generate.engine import Engine
from herd.tokens.shards import TokenShards
from herd.tokens.stages import pack
from herd.train.checkpoint import write_checkpoint
from tests.imported import corpus, work
from tests.model.test_transformer import SMALL, model
from tests.tokens.test_chat import TOKENIZER

NETWORK = model(replace(SMALL, vocab_size=TOKENIZER.vocab_size, max_seq_len=128))


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> tuple[Checkpoint, Tokens]:
    folder = tmp_path_factory.mktemp("measured")
    for name in ("model", "tokenizer"):
        (folder / name).mkdir()
    write_checkpoint(folder / "model", NETWORK, TOKENIZER, kind="chat")
    TOKENIZER.save(folder / "tokenizer", 0)
    tokens = pack.body(
        work(folder / "packed"), corpus(folder / "corpus"), Tokenizer(folder / "tokenizer"), held_out_share=0.5
    )
    return Checkpoint(folder / "model"), tokens


@pytest.fixture
def choices(tmp_path: Path) -> str:
    rows = [{"question": f"Which {n}?", "choices": ["rain", "sand"], "answer": n % 2} for n in range(4)]
    (tmp_path / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)))
    return str(tmp_path / "rows.jsonl")


def test_tasks_needles_and_losses_are_written_down(
    measured: tuple[Checkpoint, Tokens], choices: str, tmp_path: Path
) -> None:
    use = tasks.configure("multiple_choice", data=choices)
    settings = EvaluationSettings(
        tasks=(use,), needle_lengths=(96, 4096), needle_seeds=1, needle_sources=("text",), loss_length=4096
    )
    made = evaluate_model.body(work(tmp_path / "w"), *measured, label="mine", settings=settings)
    found = json.loads((made.path / "scores.json").read_text(encoding="utf-8"))
    assert (found["label"], found["chat"]) == ("mine", True)
    assert set(found["tasks"]) == {"multiple_choice"}
    assert found["tasks"]["multiple_choice"]["questions"] == 4
    assert {row["length"] for row in found["needle"]} == {96}  # the model reads 128 tokens
    assert set(found["held_out"]) == {"text"}
    assert found["held_out"]["text"]["bits_per_byte"] > 0


def test_without_tokens_tasks_alone_are_measured(
    measured: tuple[Checkpoint, Tokens], choices: str, tmp_path: Path
) -> None:
    use = tasks.configure("multiple_choice", data=choices)
    made = evaluate_model.body(
        work(tmp_path / "w"), measured[0], None, label="a", settings=EvaluationSettings(tasks=(use,))
    )
    found = json.loads((made.path / "scores.json").read_text(encoding="utf-8"))
    assert (list(found["needle"]), found["held_out"]) == ([], {})
    for name, wanted in (
        ("needles", EvaluationSettings(tasks=(), needle_lengths=(64,))),
        ("losses", EvaluationSettings(tasks=(), loss_length=64)),
    ):
        with pytest.raises(SettingsError, match="are measured on held-out text; give `evaluate_model` tokens"):
            evaluate_model.body(work(tmp_path / name), measured[0], None, label="a", settings=wanted)


def test_a_folder_is_scored_task_by_task_as_the_stage_scores_it(
    measured: tuple[Checkpoint, Tokens], choices: str
) -> None:
    uses = [
        tasks.configure("multiple_choice", data=choices),
        tasks.configure("multiple_choice", data=choices, choice_format="text"),
    ]
    told: list[tuple[str, Score]] = []
    evaluate_folder(measured[0].path, uses, lambda name, score: told.append((name, score)), device="cpu")
    assert [name for name, _ in told] == ["multiple_choice"] * 2
    for use, (_, score) in zip(uses, told, strict=True):
        assert isinstance(score, TaskScore)
        own = run_task(NETWORK, TOKENIZER, use, chat=True)
        assert isinstance(own, TaskScore)
        assert score.scores == own.scores
        assert len(score.scores) == 4


def test_needles_are_asked_at_the_lengths_that_a_model_reads(measured: tuple[Checkpoint, Tokens]) -> None:
    settings = EvaluationSettings(tasks=(), needle_lengths=(96, 128, 129), needle_seeds=1, needle_sources=("text",))
    grid = run_needle_test(NETWORK, TOKENIZER, TokenShards(measured[1].path), settings, chat=False)
    assert list(grid.lengths) == [96, 128]


def test_right_answers_are_weighed_where_that_is_asked_for_and_choices_lie_beside_the_scores(
    measured: tuple[Checkpoint, Tokens], choices: str, tmp_path: Path
) -> None:
    use = tasks.configure("multiple_choice", data=choices, choice_format="text")
    plain = EvaluationSettings(tasks=(use,))
    found = {}
    for name, settings in (("plain", plain), ("asked", replace(plain, gold_nll=True))):
        made = evaluate_model.body(work(tmp_path / name), measured[0], None, label="a", settings=settings)
        found[name] = json.loads((made.path / "scores.json").read_text(encoding="utf-8"))
    assert found["plain"]["tasks"]["multiple_choice"] | {"gold_nll": 0} == (
        found["asked"]["tasks"]["multiple_choice"] | {"gold_nll": 0}
    )
    row = found["asked"]["tasks"]["multiple_choice"]
    task = tasks.make(use)()
    assert row["gold_nll"] == pytest.approx(gold_nll(Engine(NETWORK, TOKENIZER.stop_token_ids), TOKENIZER, task))
    assert row["chance"] == 0.5
    assert found["plain"]["tasks"]["multiple_choice"]["gold_nll"] is None
    rows = found["asked"]["choices"]["multiple_choice"]
    assert [one["right"] for one in rows] == [0, 1, 0, 1]
    best = [one["log_likelihoods"].index(max(one["log_likelihoods"])) for one in rows]
    assert [float(a == b) for a, b in zip(best, [0, 1, 0, 1], strict=True)] == row["right"]


def test_an_evaluation_of_before_tells_no_likelihood_of_answers() -> None:
    task = {"share": 0.5, "low": 0.1, "high": 0.9, "questions": 2, "void": 0, "right": [1, 0], "truncated_share": 0.0,
            "tokens": 3.0}  # fmt: skip
    row = {"version": 1, "label": "base", "chat": False, "tasks": {"sums": task}, "needle": [], "held_out": {}}
    old = results.from_row(EvaluationResult, row, "an older run").tasks["sums"]
    assert isinstance(old, TaskResult)
    assert (old.gold_nll, old.chance) == (None, None)
