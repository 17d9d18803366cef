"""Fine-tunings on one's own files are counted while they are planned, as their stages then take them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from herd.align.dpo import DpoSettings, dpo
from herd.align.losses import losses
from herd.align.results import FinetuningResult
from herd.align.reward import RewardSettings, train_reward
from herd.align.sft import SftSettings, sft
from herd.core.artifacts import Checkpoint
from herd.core.stage import walk
from herd.evals.results import ValidationCurve
from herd.model.adapters import LoraSettings
from herd.recipes.tuning_plans import PlannedFinetuning, planned_finetunings
from herd.run.runner import run_stages
from herd.train.results import TrainingResult
from tests.recipes.test_own_rows import own, pairs, rows
from tests.serve.test_compare import chat_model

DPO: dict[str, Any] = {"loss": losses.configure("dpo"), "batch_size": 4}


def planned(model: Checkpoint) -> PlannedFinetuning:
    (tuning,) = planned_finetunings(list(walk(model)))
    return tuning


def start(folder: Path) -> Checkpoint:
    from herd.align.loading import load_pretrained

    return load_pretrained(folder=str(chat_model(folder / "smol")))


def test_sft_takes_the_steps_and_flops_that_were_planned(tmp_path: Path) -> None:
    learnt, held_out = own().dialogues_of((rows(tmp_path / "rows.jsonl", 40),))
    settings = SftSettings(length=48, batch_size=4, epochs=2)
    tuned = sft(start(tmp_path), (learnt,), None, held_out, settings=settings)
    tuning = planned(tuned)
    made = run_stages(tuned, tmp_path / "run", jobs=0)
    curve, result = made.result(ValidationCurve), made.result(TrainingResult)
    assert tuning.steps == curve.points[-1].step
    assert tuning.counted.held_out == curve.examples
    assert tuning.job.tokens == result.tokens
    # What is read by epoch comes on top.
    assert tuning.flops - result.flops == pytest.approx(
        tuning.shape.forward_flops(48) * len(curve.points) * tuning.counted.held_out_tokens
    )


def test_pairs_take_the_steps_and_flops_that_were_planned(tmp_path: Path) -> None:
    base = start(tmp_path)
    learnt, held_out = own().preferences_of((pairs(tmp_path / "pairs.jsonl", 40),))
    tuned = dpo(base, (learnt,), held_out, settings=DpoSettings(**DPO))
    tuning = planned(tuned)
    made = run_stages(tuned, tmp_path / "run", jobs=0)
    assert tuning.steps == made.result(ValidationCurve).points[-1].step
    assert (tuning.sequences, tuning.job.steps) == (2, tuning.steps)
    # The stage counts its steps and the reference's pass; a plan the pass after training, and held-out rows, too.
    recorded = made.result(FinetuningResult).flops
    assert recorded < tuning.flops < 2 * recorded
    judge = train_reward(base, (learnt,), held_out, settings=RewardSettings(batch_size=4, epochs=1, share_prompt=True))
    assert planned(judge).sequences == 1
    recorded = run_stages(judge, tmp_path / "run", jobs=0).result(FinetuningResult).flops
    assert recorded < planned(judge).flops < 1.5 * recorded


def test_adapters_cost_two_passes_and_keep_moments_for_themselves_alone(tmp_path: Path) -> None:
    base, (learnt, _) = start(tmp_path), own(held_out_share=0.0).dialogues_of((rows(tmp_path / "rows.jsonl", 40),))
    full, adapters = (
        planned(sft(base, (learnt,), settings=SftSettings(length=48, batch_size=4, lora=lora)))
        for lora in (None, LoraSettings(rank=2))
    )
    assert adapters.flops == pytest.approx(full.flops * 2 / 3)
    assert adapters.job.trainable is not None
    assert adapters.job.trainable.trained < full.shape.num_params
    assert adapters.job.memory(adapters.settings.layout).optimizer < full.job.memory(full.settings.layout).optimizer


def test_rows_that_are_not_here_yet_or_are_many_are_not_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    base, settings = start(tmp_path), SftSettings(length=48, batch_size=4)
    learnt, held_out = own().dialogues_of((rows(tmp_path / "rows.jsonl", 40),))
    tuned = sft(base, (learnt,), None, held_out, settings=settings)
    assert planned(tuned).counted.rows == 32
    assert len(list(planned_finetunings(list(walk(sft(tuned, (learnt,), settings=settings)))))) == 1  # the first alone
    assert not list(planned_finetunings(list(walk(sft(base, (learnt, learnt), settings=settings)))))
    monkeypatch.setattr("herd.recipes.tuning_plans._MOST_BYTES", 100)
    assert not list(planned_finetunings(list(walk(tuned))))


def test_rows_with_questions_of_the_tests_are_no_part_of_it(tmp_path: Path) -> None:
    tests = tmp_path / "tests.jsonl"
    tests.write_text(json.dumps({"prompt": "say 3", "response": "hello"}) + "\n")
    base = start(tmp_path)
    for held_out, expected in (((), 39), ((rows(tmp_path / "apart.jsonl", 2),), 37)):
        settings = own(tests=(str(tests),), held_out=held_out, held_out_share=0.0)
        learnt, apart = settings.dialogues_of((rows(tmp_path / "rows.jsonl", 40),))
        tuning = planned(sft(base, (learnt,), None, apart, settings=SftSettings(length=48, batch_size=4)))
        assert (tuning.counted.rows, tuning.counted.held_out) == (expected, len(held_out) * 2)
