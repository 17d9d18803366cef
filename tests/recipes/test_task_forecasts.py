"""The plans of a ladder that is asked questions."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from herd.core.errors import SettingsError
from herd.core.settings import build, dump
from herd.core.stage import plan_of, walk
from herd.evals.tasks import tasks
from herd.recipes.pretraining import scaling_law, train_ladder
from herd.recipes.task_forecasts import forecast_base_scores, forecasts_of
from herd.scaling.budget import LadderSettings
from tests.recipes.test_pretraining import BASE, LADDER, SIZE, prepared


@pytest.fixture
def asked(tmp_path: Path) -> LadderSettings:
    file = tmp_path / "rows.jsonl"
    file.write_text(json.dumps({"question": "Which?", "choices": ["rain", "sand"], "answer": 1}))
    return replace(LADDER, tasks=(tasks.configure("multiple_choice", data=str(file)),))


def test_every_model_of_the_ladder_is_asked_what_the_base_is_asked(tmp_path: Path, asked: LadderSettings) -> None:
    made = prepared(tmp_path)
    ladder = train_ladder(made.tokens, made.vocabulary, asked, BASE, vocab_size=556)
    models = ladder.models
    law, foretold = forecasts_of(ladder)
    plan = plan_of(foretold)
    assert plan.input_keys["law"] == law.key
    assert plan.input_keys["models"] == [model.key for model in models]
    assert plan.settings["target_flops"] is None  # the law's
    evaluations = [one for one in walk(foretold) if one.stage.name == "evaluate_model"]
    assert [one.input_keys["model"] for one in evaluations] == [model.key for model in models]
    assert all(one.settings["settings"]["gold_nll"] for one in evaluations)
    assert len({one.settings["label"] for one in evaluations}) == len(models)


def test_a_ladder_that_is_asked_nothing_forecasts_no_score(tmp_path: Path) -> None:
    made = prepared(tmp_path)
    ladder = train_ladder(made.tokens, made.vocabulary, LADDER, BASE, vocab_size=556)
    (law,) = forecasts_of(ladder)
    with pytest.raises(SettingsError, match=r"write ladder\.tasks"):
        forecast_base_scores(law, ladder)


def test_sizes_too_large_for_a_budget_are_left_out_and_the_law_is_told(tmp_path: Path) -> None:
    made = prepared(tmp_path)
    sizes = tuple(replace(SIZE, dim=dim) for dim in (8, 12, 16, 20, 128))
    ladder = replace(LADDER, sizes=sizes, skip_sizes=True, lr=(5e-3, 4e-3, 3e-3, 2e-3, 1e-3), batch_tokens=(64, 128),
                     budgets=(1e8, 1e10))  # fmt: skip
    planned = train_ladder(made.tokens, made.vocabulary, ladder, BASE, vocab_size=556)
    plan = plan_of(scaling_law(planned))
    rows = [plan_of(model).settings["settings"] for model in planned.models]
    assert plan.settings["models_per_budget"] == [4, 5]
    assert [row["lr"] for row in rows] == [5e-3, 4e-3, 3e-3, 2e-3, 5e-3, 4e-3, 3e-3, 2e-3, 1e-3]
    assert [row["batch"][0]["batch_tokens"] for row in rows] == [64] * 4 + [128] * 5
    assert build(LadderSettings, dump(ladder), where="ladder") == ladder
