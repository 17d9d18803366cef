"""Fine-tuning on dialogues of one's own, from rows to a report that says what was held out."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from herd.align.results import HeldOutSplit
from herd.cli import main
from herd.core.errors import SettingsError
from herd.core.recipe import load_recipe
from herd.core.storage import read_conversations
from herd.evals.results import EvaluationResult, ValidationCurve
from herd.recipes import recipes
from herd.report.sections import results_of
from herd.run.runner import run_stages
from herd.serve.folders import artifacts_in
from tests.serve.test_compare import chat_model

CANARY = "hello there the"  # planted words, which only held-out rows answer with


@pytest.fixture
def own(tmp_path: Path) -> Path:
    """A recipe, a small model, rows, and text that is read again among them."""
    chat_model(tmp_path / "model")
    dialogues = [{"prompt": f"say {n % 20}", "response": "hello"} for n in range(40)]
    apart = [{"prompt": "say 3", "response": CANARY}, {"prompt": "what now", "response": CANARY}]
    for name, rows in (("rows", dialogues), ("apart", apart)):
        (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    texts = [{"text": f"the cat sat there on mat {n}. " * 20} for n in range(30)]
    (tmp_path / "text.jsonl").write_text("".join(json.dumps(row) + "\n" for row in texts))
    (tmp_path / "own.yaml").write_text(
        f"""recipe: sft
model: {tmp_path / "model"}
dialogues: [{tmp_path / "rows.jsonl"}]
sft: {{length: 64, batch_size: 2, epochs: 3, lr: 1.0e-3, early_stop: true}}
"""
    )
    return tmp_path


def run(folder: Path, *overrides: str) -> tuple[str, list]:
    report = run_stages(load_recipe(str(folder / "own.yaml"), recipes, overrides).plan(), folder / "run", jobs=0)
    return (report.path / "report.html").read_text(encoding="utf-8"), artifacts_in(folder / "run")


def test_a_run_holds_out_measures_by_epoch_and_says_so(own: Path) -> None:
    page, made = run(own)
    (curve,) = results_of(made, ValidationCurve)
    assert curve.points[0].epoch == 0
    assert curve.changes["loss"].value < 0
    assert "Held-out examples" in page
    assert "A star marks the weights that were kept" in page
    by_part = {
        one.metadata["settings"]["part"]: list(read_conversations(one.path))
        for one in made
        if one.metadata["stage"] == "split_dialogues"
    }
    prompts = {part: {row.messages[0].content for row in rows} for part, rows in by_part.items()}
    assert len(prompts["held_out"]) == 8  # however small the share
    assert not prompts["train"] & prompts["held_out"]
    assert curve.examples == len(by_part["held_out"]) == 16


def test_a_file_that_is_held_out_is_never_learnt_and_its_prompts_neither(own: Path) -> None:
    _, made = run(own, f"held_out=[{own / 'apart.jsonl'}]")
    (split,) = results_of(made, HeldOutSplit)
    assert (split.train, split.held_out, split.prompts) == (38, 2, 2)
    (train,) = [one for one in made if one.metadata["stage"] == "split_dialogues"]
    assert all(row.messages[-1].content != CANARY for row in read_conversations(train.path))


def test_text_is_replayed_and_measured_before_and_after(own: Path) -> None:
    overrides = (
        f"texts={{books: [{own / 'text.jsonl'}]}}",
        "sft.replay={share: 0.3, mixture_weights: {books: 1.0}}",
        "measure={tasks: [], loss_length: 64}",
        "text_held_out_share=0.3",
        "sft.epochs=1",
    )
    _, made = run(own, *overrides)
    assert [result.label for result in results_of(made, EvaluationResult)] == ["before", "after"]
    with pytest.raises(SettingsError, match="are about text; name some as `texts`"):
        load_recipe(str(own / "own.yaml"), recipes, [overrides[1]])


def test_the_recipe_that_a_plan_prints_is_the_same(own: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plan", str(own / "own.yaml"), "--yaml"]) == 0
    (own / "printed.yaml").write_text(capsys.readouterr().out)
    first, second = (load_recipe(str(own / name), recipes).plan().key for name in ("own.yaml", "printed.yaml"))
    assert first == second
