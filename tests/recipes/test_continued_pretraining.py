"""A model that goes on with one's own text: what is planned, what is read again, and what it costs elsewhere."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from herd.core.artifacts import Checkpoint
from herd.core.errors import SettingsError
from herd.core.recipe import Recipe
from herd.core.stage import walk
from herd.evals.results import EvaluationResult
from herd.run.runner import run_stages
from herd.serve.folders import artifacts_in
from herd.train.results import TrainingResult
from tests.imported import theirs
from tests.recipes.test_adapt import small_model
from tests.recipes.test_base_model import recipe, stages, text

TRAINING: dict[str, Any] = {"length": 64, "tokens": 5120, "batch": [{"until": 1.0, "batch_tokens": 256}], "lr": 1.0e-3}
SMALL: dict[str, Any] = {"held_out_share": 0.2, "pretrain": TRAINING, "measure": {"loss_length": 64}}


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("start")
    small_model(folder / "model")
    return folder / "model"


def test_a_model_learns_ones_text_and_is_measured_on_both_before_and_after(start: Path, tmp_path: Path) -> None:
    own, general = text(tmp_path, books=120), text(tmp_path, wiki=60)
    planned = recipe(
        tmp_path, "continue", model=str(start), files=own, general=general, replay_share=0.25,
        export_layout="hugging_face", **SMALL,
    )  # fmt: skip
    report = run_stages(planned.plan(), tmp_path / "run", jobs=1)
    made = artifacts_in(tmp_path / "run")
    results = {result.label: result for one in made if (result := one.get_result(EvaluationResult))}
    before, after = results["before"].held_out, results["after"].held_out
    assert before.keys() == after.keys() == {"books", "wiki"}
    assert after["books"].nats_per_token < before["books"].nats_per_token - 0.1
    (trained,) = [result for one in made if (result := one.get_result(TrainingResult))]
    # To within half a row of either source.
    assert trained.sources["wiki"].share == pytest.approx(0.25, abs=64 / trained.tokens)
    exported = next(one for one in made if one.metadata["stage"] == "export_model")
    assert isinstance(theirs(exported.path / "model")[0].num_parameters(), int)
    assert "was not measured" not in (report.path / "report.html").read_text()
    assert any(isinstance(one, Checkpoint) for one in made)


def test_without_general_text_the_report_says_what_was_not_measured(start: Path, tmp_path: Path) -> None:
    planned = recipe(tmp_path, "continue", model=str(start), files=text(tmp_path, books=3), **SMALL)
    report, *_ = [plan for plan in walk(planned.plan()) if plan.stage.name == "write_report"]
    assert "other text was not measured" in report.settings["note"]
    assert "export_model" not in stages(planned)
    training = next(plan for plan in walk(planned.plan()) if plan.stage.name == "pretrain")
    assert training.settings["settings"]["mix"] == {"max_epochs": 4.0, "replay_share": 0.0, "replay_sources": []}


LATER: dict[str, Any] = {
    "longer": [{"length": 96, "batch_tokens": 192, "check_tokens": 384, "checks": 1, "gate": 0.0, "lr": 1.0e-3,
                "needle_seeds": 1}],
    "anneal": {"tokens": 3840, "length": 64, "batch_tokens": 256, "lr": 1.0e-3},
}  # fmt: skip


def later_settings(planned: Recipe) -> list[dict[str, Any]]:
    stages = ("extend_context", "anneal")
    return [plan.settings["settings"] for plan in walk(planned.plan()) if plan.stage.name in stages]


def test_later_stages_read_general_text_in_the_share_of_the_first(start: Path, tmp_path: Path) -> None:
    text_of = {"files": text(tmp_path, books=120), "general": text(tmp_path, wiki=90)}
    planned = recipe(tmp_path, "continue", model=str(start), replay_share=0.25, **text_of, **SMALL, **LATER)
    for row in later_settings(planned):
        assert row["mix"] == {"max_epochs": 4.0, "replay_share": 0.25, "replay_sources": ["wiki"]}
    run_stages(planned.plan(), tmp_path / "run", jobs=1)
    made = artifacts_in(tmp_path / "run")
    ended = next(one.result(TrainingResult) for one in made if one.metadata["stage"] == "anneal")
    assert ended.sources["wiki"].share == pytest.approx(0.25, abs=64 / ended.tokens)
    phases = [{"until": 1.0, "mixture_weights": {"books": 0.9, "wiki": 0.1}}]
    numbers = SMALL | {"pretrain": TRAINING | {"mix": phases}}
    for row in later_settings(recipe(tmp_path, "continue", model=str(start), **text_of, **numbers, **LATER)):
        assert (row["mixture_weights"], row.get("mix")) == ({"books": 0.9, "wiki": 0.1}, None)
    own = LATER | {"anneal": LATER["anneal"] | {"mixture_weights": {"books": 1.0}}}
    *_, ending = later_settings(recipe(tmp_path, "continue", model=str(start), **text_of, **SMALL, **own))
    assert (ending["mixture_weights"], ending.get("mix")) == ({"books": 1.0}, None)
    del text_of["general"]
    for row in later_settings(recipe(tmp_path, "continue", model=str(start), **text_of, **SMALL, **LATER)):
        assert (row["mixture_weights"], row.get("mix")) == (None, None)


def test_phases_say_alone_what_is_read(start: Path, tmp_path: Path) -> None:
    mix = [{"until": 1.0, "mixture_weights": {"books": 0.9, "wiki": 0.1}}]
    planned = recipe(
        tmp_path, "continue", model=str(start), files=text(tmp_path, books=3), general=text(tmp_path, wiki=3),
        held_out_share=0.2, pretrain=TRAINING | {"mix": mix}, measure={"loss_length": 64},
    )  # fmt: skip
    training = next(plan for plan in walk(planned.plan()) if plan.stage.name == "pretrain")
    assert training.settings["settings"]["mix"] == mix


@pytest.mark.parametrize(
    ("numbers", "words"),
    [
        ({"model": ""}, "model is not said; .* `herd pretrain --from MODEL PATH`"),
        ({"files": {}}, "files is not said"),
        ({"general": {"books": ["x"]}}, "books is both your text and general"),
        (
            {
                "anneal": {
                    "tokens": 256,
                    "length": 64,
                    "batch_tokens": 128,
                    "lr": 0.1,
                    "mix": {"max_epochs": 1.0},
                    "mixture_weights": {"books": 1.0},
                },
            },
            "mixture_weights and mix both say the shares",
        ),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_made(numbers: dict[str, Any], words: str, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=words):
        recipe(tmp_path, "continue", **{"model": str(tmp_path), "files": text(tmp_path, books=3), **numbers})
