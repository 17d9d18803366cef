"""What fine-tuning takes is said by the arithmetic of pre-training, and in its words."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from herd.align.sft import SftSettings, sft
from herd.cli import main
from herd.core.stage import walk
from herd.recipes.costing import forecast_lines
from herd.recipes.tuning_costs import count_lines, forecast_tunings
from herd.run.runner import run_stages
from herd.train.machines import load_machine
from tests.commands.test_finetuning import own as own_files
from tests.recipes.test_own_rows import own, rows
from tests.recipes.test_tuning_plans import start

H100 = load_machine("h100")
own_folder = own_files


def test_a_forecast_has_steps_flops_hours_and_memory_and_what_was_measured(tmp_path: Path) -> None:
    learnt, held_out = own().dialogues_of((rows(tmp_path / "rows.jsonl", 40),))
    tuned = sft(start(tmp_path), (learnt,), None, held_out, settings=SftSettings(length=48, batch_size=4, epochs=2))
    plans = list(walk(tuned))
    (before,) = forecast_tunings(plans, H100, artifacts=tmp_path / "nowhere")
    (given,) = forecast_tunings(plans, H100, artifacts=tmp_path / "nowhere", mfu=0.01)
    seconds = given.flops / (0.01 * H100.fp32_flops)
    assert given.days * 86_400 == pytest.approx(seconds)
    assert given.money == pytest.approx(seconds / 3600 * H100.price_per_hour)
    assert before.to_row()["steps"] == before.steps == before.training.steps
    said = "\n".join([*count_lines([before]), *forecast_lines([before], H100, tmp_path)])
    assert "so few teach little" in said
    assert f"of {H100.memory_bytes / 1e9:.1f} GB a device (weights" in said
    assert "training takes at least" in said
    assert "pre-training" not in said
    run_stages(tuned, tmp_path / "run", jobs=0)
    (after,) = forecast_tunings(plans, H100, artifacts=tmp_path / "run" / "artifacts")
    assert after.main.speed_from == f"measured by {after.key}"
    assert after.flops == before.flops


def test_what_does_not_fit_is_said(tmp_path: Path) -> None:
    from dataclasses import replace

    learnt, _ = own(held_out_share=0.0).dialogues_of((rows(tmp_path / "rows.jsonl", 40),))
    tuned = sft(start(tmp_path), (learnt,), settings=SftSettings(length=48, batch_size=4))
    (forecast,) = forecast_tunings(list(walk(tuned)), replace(H100, memory_bytes=1e5), artifacts=tmp_path)
    assert not forecast.to_row()["fits"]
    assert any("does not fit into" in note for note in forecast.notes)


def test_a_plan_of_the_recipe_and_a_dry_run_say_the_same(own_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for command, rows_of in (("sft", "rows.jsonl"), ("dpo", "pairs.jsonl"), ("reward", "pairs.jsonl")):
        assert main([command, "smol", rows_of, "--dry-run", "--machine", "a100", "--out", command]) == 0
        said, _, written = capsys.readouterr().out.partition("recipe.yaml:\n\n")
        Path(f"{command}.yaml").write_text(written)
        assert main(["plan", f"{command}.yaml", "--machine", "a100"]) == 0
        planned = capsys.readouterr().out
        cost = next(line for line in said.splitlines() if " FLOPs: " in line)
        assert cost in planned
        assert "step" in cost
        assert main(["plan", f"{command}.yaml", "--json"]) == 0
        (row,) = json.loads(capsys.readouterr().out)["trainings"]
        assert row["steps"] > 0
        assert row["memory"]["total"] > 0
