"""A base model from files, by the recipe and its presets: what is planned, and a small one from text to report."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from herd.core.errors import SettingsError
from herd.core.recipe import Recipe, load_recipe
from herd.core.settings import write_yaml
from herd.core.stage import walk
from herd.recipes import recipes
from herd.recipes.base_model import BaseModelSettings
from herd.run.runner import run_stages
from herd.serve.folders import artifacts_in
from herd.tokens.results import PackingResult, TokenizerResult
from herd.train.results import TrainingResult
from tests.imported import imported

SIZE = {"dim": 16, "n_layers": 1, "n_heads": 2, "n_kv_heads": 1, "ffn_dim": 32, "tied_output": True}
PHASE = {"length": 32, "batch_tokens": 128, "lr": 1.0e-3}
SMALL: dict[str, Any] = {
    "tokenizer": {"vocab_size": 300},
    "held_out_share": 0.2,
    "base": {"size": SIZE, "length": 32, "tokens": 1280, "batch": [{"until": 1.0, "batch_tokens": 128}], "lr": 1.0e-3},
    "measure": {"loss_length": 32},
}


def text(folder: Path, **sources: int) -> dict[str, list[str]]:
    """Files of so many short texts, by source."""
    for name, count in sources.items():
        rows = [
            {"text": f"In year {n} the mill of {name} number {n * n} turned for {n + 2} days."} for n in range(count)
        ]
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return {name: [str(folder / f"{name}.jsonl")] for name in sources}


def recipe(folder: Path, name: str = "base_model", **numbers: Any) -> Recipe:
    file = folder / "own.yaml"
    file.write_text(write_yaml({"recipe": name, **numbers}))
    return load_recipe(str(file), recipes)


def stages(planned: Recipe) -> list[str]:
    return [plan.stage.name for plan in walk(planned.plan())]


@pytest.mark.parametrize("name", ["base_model", "pretrain", "30m", "150m", "1b"])
def test_every_preset_is_planned_for_ones_files_and_can_be_written_out(name: str, tmp_path: Path) -> None:
    own = recipe(tmp_path, name, files=text(tmp_path, books=3))
    expected = [
        "load_files",
        "curate",
        "train_tokenizer",
        "pack",
        "pretrain",
        "anneal",
        "evaluate_model",
        "write_report",
    ]
    assert stages(own) == [stage for stage in expected if stage != "anneal" or own.settings.anneal]
    (tmp_path / "again.yaml").write_text(write_yaml(own.to_row()))
    assert load_recipe(str(tmp_path / "again.yaml"), recipes).plan().key == own.plan().key


def test_epochs_laid_over_tokens_take_their_place_and_the_other_way_round(tmp_path: Path) -> None:
    files = text(tmp_path, books=3)

    def much(*overrides: str, **base: Any) -> tuple[int | None, float | None]:
        (tmp_path / "own.yaml").write_text(write_yaml({"recipe": "30m", "files": files, "base": base}))
        s = load_recipe(str(tmp_path / "own.yaml"), recipes, overrides).settings
        return s.base.tokens, s.base.epochs

    assert much()[1] is None
    assert much(epochs=1.5) == (None, 1.5)
    assert much("base.tokens=1000000", epochs=1.5) == (1_000_000, None)
    assert much("base.epochs=2.0", tokens=1_000_000) == (None, 2.0)
    assert much("base.lr=1.0e-3", epochs=1.5) == (None, 1.5)
    with pytest.raises(SettingsError, match="write either tokens"):
        much(epochs=1.5, tokens=1_000_000)


def test_the_recipes_own_numbers_hold_together() -> None:
    for name in ("30m", "150m", "1b"):
        own = load_recipe(name, recipes, ["files={web: [/dev/null]}"])
        s = own.settings
        assert isinstance(s, BaseModelSettings)
        assert s.base.size is not None
        assert s.base.tokens is not None
        assert s.anneal is not None
        assert s.anneal.tokens / (s.base.tokens + s.anneal.tokens) == pytest.approx(0.1)
        assert s.anneal.lr == pytest.approx(s.base.min_lr_ratio * (s.base.lr or 0))  # the rate goes on where it was
        assert s.base.batch[0].batch_tokens % (s.base.length * s.base.layout.data) == 0
        assert s.tokenizer.vocab_size is not None
        assert (s.tokenizer.vocab_size + 256) % 128 == 0  # which fast products like


def test_ladder_search_and_later_stages_are_planned_where_they_are_asked_for(tmp_path: Path) -> None:
    ladder = {
        "budgets": [1.0e9],
        "sizes": [SIZE | {"dim": dim} for dim in (16, 20, 24, 28)],
        "length": 32,
        "batch_tokens": 128,
        "lr": 1.0e-3,
    }
    proxy = {"size": SIZE, "length": 32, "tokens": 1280, "batch_tokens": 128, "lr": 1.0e-3}
    planned = recipe(
        tmp_path,
        files=text(tmp_path, books=3, web=3),
        **SMALL,
        ladder=ladder,
        mix_search={"method": "doremi", "proxy": proxy},
        longer=[{"length": 64, "batch_tokens": 128, "check_tokens": 128, "lr": 1.0e-3}],
        anneal={"tokens": 256, "length": 64, "batch_tokens": 128, "lr": 1.0e-3},
    )
    plans = {plan.key: plan for plan in walk(planned.plan())}
    by_stage = [plan.stage.name for plan in plans.values()]
    assert (by_stage.count("pretrain"), by_stage.count("fit_law"), by_stage.count("find_mix")) == (5, 1, 1)
    search = next(plan for plan in plans.values() if plan.stage.name == "find_mix")
    for plan in plans.values():
        if plan.stage.name == "pretrain":
            assert search.key in {parent.key for parent in plan.parents}


@pytest.mark.parametrize(
    ("numbers", "words"),
    [
        ({"files": {}}, "files is not said"),
        (
            {"columns": {"book": {"text": "content"}}},
            "columns names the source 'book', which has no files.*did you mean",
        ),
        (
            {"base": {"mix": [{"until": 1.0, "mixture_weights": {"boks": 1.0}}]}},
            r"mix\.0\.mixture_weights names 'boks'",
        ),
        (
            {"anneal": {"tokens": 256, "length": 64, "batch_tokens": 128, "lr": 0.1, "mixture_weights": {"web": 1.0}}},
            r"anneal\.mixture_weights names 'web'",
        ),
        (
            {
                "mix_search": {"method": "doremi", "proxy": PHASE | {"size": SIZE, "tokens": 1280}},
                "base": {"mix": [{"until": 1.0, "mixture_weights": {"books": 1.0}}]},
            },
            "both mix_search and base.mix say the shares",
        ),
        (
            {
                "held_out_share": 0.0,
                "longer": [{"length": 64, "batch_tokens": 128, "check_tokens": 128, "lr": 1.0e-3}],
            },
            "longer hides needles in held-out text and held_out_share is 0",
        ),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_made(numbers: dict[str, Any], words: str, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=words):
        recipe(tmp_path, **{"files": text(tmp_path, books=3), **numbers}).plan()


def test_a_model_is_made_of_text_and_of_a_vocabulary_that_was_there(tmp_path: Path) -> None:
    model = imported(tmp_path / "model")
    numbers: dict[str, Any] = SMALL | {"tokenizer": {"file": str(model.path)}}
    numbers["base"] = SMALL["base"] | {"tokens": None, "epochs": 1.5}
    own = recipe(tmp_path, files=text(tmp_path, books=90, web=30), **numbers)
    report = run_stages(own.plan(), tmp_path / "run", jobs=1)
    by_stage = {artifact.metadata["stage"]: artifact for artifact in artifacts_in(tmp_path / "run")}
    packed = by_stage["pack"].result(PackingResult).sources
    trained = by_stage["pretrain"].result(TrainingResult)
    vocabulary = by_stage["load_tokenizer"].result(TokenizerResult).vocab_size
    assert trained.num_params == 16 * vocabulary + 16 * 16 * 3 + 3 * 16 * 32 + 3 * 16
    assert trained.tokens == pytest.approx(1.5 * sum(splits["train"].tokens for splits in packed.values()), abs=128)
    assert trained.sources["books"].epochs == pytest.approx(trained.sources["web"].epochs, rel=0.25)
    page = (report.path / "report.html").read_text()
    assert "A base model on text of our own" in page
    assert "world" not in page
