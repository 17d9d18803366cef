"""DPO on pairs of one's own: held-out pairs by epoch, early stop, and the report."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from herd.core.recipe import load_recipe
from herd.core.storage import read_preferences
from herd.evals.results import ValidationCurve
from herd.recipes import recipes
from herd.report.sections import results_of
from herd.run.runner import run_stages
from herd.serve.folders import artifacts_in
from tests.serve.test_compare import chat_model


def pairs(folder: Path) -> Path:
    file = folder / "pairs.jsonl"
    rows = [{"prompt": f"say {n // 2}", "chosen": f"hello {n}", "rejected": "there"} for n in range(60)]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return file


@pytest.mark.parametrize("lora", ["", ", lora: {rank: 2}"], ids=["full", "adapters"])
def test_margins_of_held_out_pairs_rise_and_the_best_epoch_is_kept(tmp_path: Path, lora: str) -> None:
    (tmp_path / "own.yaml").write_text(
        f"""recipe: dpo
model: {chat_model(tmp_path / "model")}
preferences: [{pairs(tmp_path)}]
held_out_share: 0.3
dpo: {{batch_size: 4, epochs: 3, lr: 2.0e-3, early_stop: true{lora}}}
"""
    )
    report = run_stages(load_recipe(str(tmp_path / "own.yaml"), recipes).plan(), tmp_path / "run", jobs=0)
    made = artifacts_in(tmp_path / "run")
    (curve,) = results_of(made, ValidationCurve)
    assert curve.changes["margin"].low > 0
    assert curve.changes["loss"].high < 0
    assert curve.kept == curve.best
    page = (report.path / "report.html").read_text(encoding="utf-8")
    assert "Margin of held-out pairs: dpo" in page
    parts = {
        one.metadata["settings"]["part"]: {row.prompt.messages[0].content for row in read_preferences(one.path)}
        for one in made
        if one.metadata["stage"] == "split_preferences"
    }
    assert not parts["train"] & parts["held_out"]
