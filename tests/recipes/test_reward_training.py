"""A reward model from pairs of one's own, told by pairs whose prompts it never saw."""

from __future__ import annotations

from pathlib import Path

import pytest

from herd.align.results import RewardModelResult
from herd.core.errors import SettingsError
from herd.core.recipe import load_recipe
from herd.evals.results import ValidationCurve
from herd.recipes import recipes
from herd.report.sections import results_of
from herd.run.runner import run_stages
from herd.serve.folders import artifacts_in
from tests.recipes.test_preference_tuning import pairs
from tests.serve.test_compare import chat_model


@pytest.fixture
def own(tmp_path: Path) -> Path:
    (tmp_path / "own.yaml").write_text(
        f"""recipe: reward
model: {chat_model(tmp_path / "model")}
preferences: [{pairs(tmp_path)}]
held_out_share: 0.3
reward: {{batch_size: 4, epochs: 2, lr: 2.0e-3}}
"""
    )
    return tmp_path


def test_a_reward_model_is_measured_by_epoch_on_prompts_it_never_saw(own: Path) -> None:
    report = run_stages(load_recipe(str(own / "own.yaml"), recipes).plan(), own / "run", jobs=0)
    made = artifacts_in(own / "run")
    (curve,), (ranking,) = results_of(made, ValidationCurve), results_of(made, RewardModelResult)
    last = curve.points[-1].figures["accuracy"]
    assert last.value == pytest.approx(ranking.held_out.right / ranking.held_out.pairs)
    assert (last.low, last.high) == pytest.approx((ranking.held_out.low, ranking.held_out.high))
    assert curve.points[0].figures["accuracy"].value == 0.5
    page = (report.path / "report.html").read_text(encoding="utf-8")
    assert "Held-out pairs ranked right: train_reward" in page


def test_what_tells_nothing_of_a_reward_model_is_refused(own: Path) -> None:
    for override, words in (
        ("held_out_share=0.0", "is told by held-out pairs"),
        (f"measure={{tasks: [{{short_answer: {{data: {own}/pairs.jsonl}}}}]}}", "scores answers and gives none"),
    ):
        with pytest.raises(SettingsError, match=words):
            load_recipe(str(own / "own.yaml"), recipes, [override])
