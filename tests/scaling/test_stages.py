"""From the models of a ladder to a law on disk: a planted one is found, and a sweep without one says how to mend it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from herd.core.artifacts import ArtifactMetadata, Checkpoint, write_metadata
from herd.core.errors import DataError
from herd.core.results import results
from herd.scaling.laws import Chinchilla
from herd.scaling.parametric import read_law
from herd.scaling.stages import fit_law
from herd.train.results import TrainingResult
from tests.imported import work

LAW = Chinchilla()
BUDGETS = (1e18, 1e19, 1e20)
TARGET = 1e22


def trained(folder: Path, num_params: float, tokens: float, loss: float) -> Checkpoint:
    """What a stage of pre-training leaves of itself, as far as a law wants it."""
    folder.mkdir(parents=True)
    training = TrainingResult(round(num_params), round(tokens), 6 * num_params * tokens, loss, length=1)
    rows = results.to_rows([training])
    write_metadata(folder, ArtifactMetadata("Checkpoint", folder.name, "pretrain", 1, "-", "-", {}, {}, rows))
    return Checkpoint(folder)


def sweep(folder: Path, *, of_best: tuple[float, float], noise: float = 0.0) -> tuple[Checkpoint, ...]:
    """Seven models a budget, on from so many to so many times the best number of tokens."""
    chance, made = np.random.default_rng(0), []
    for budget in BUDGETS:
        for part in np.geomspace(*of_best, 7):
            tokens = float(part * LAW.best_tokens(budget))
            loss = LAW.loss(budget / (6 * tokens), tokens) * (1 + noise * chance.normal())
            made.append(trained(folder / str(len(made)), budget / (6 * tokens), tokens, loss))
    return tuple(made)


def fitted(folder: Path, models: tuple[Checkpoint, ...], **settings: Any) -> dict[str, Any]:
    made = fit_law.body(work(folder), models, budgets=BUDGETS, target_flops=TARGET, **settings)
    return json.loads((made.path / "law.json").read_text(encoding="utf-8"))


def test_a_planted_law_is_found_by_both_ways_and_read_back(tmp_path: Path) -> None:
    found = fitted(tmp_path / "law", sweep(tmp_path, of_best=(0.5, 2.0), noise=1e-4), resamples=30)
    assert [curve["inside"] for curve in found["curves"]] == [True] * 3
    assert [curve["flops"] for curve in found["curves"]] == list(BUDGETS)
    wanted = 1 - LAW.beta / (LAW.alpha + LAW.beta)
    law = found["law"]
    low, high = law["exponent_interval"]
    assert law["exponent"] == pytest.approx(wanted, abs=0.03)
    assert low < law["exponent"] < high
    assert law["best_tokens"] == pytest.approx(LAW.best_tokens(TARGET), rel=0.25)
    assert law["best_tokens"] == pytest.approx(law["factor"] * TARGET ** law["exponent"])
    assert law["resamples_with_a_law"] == 30
    for curve, budget in zip(found["curves"], BUDGETS, strict=True):
        assert curve["best_tokens"] == pytest.approx(LAW.best_tokens(budget), rel=0.1)
    assert read_law(tmp_path / "law" / "out").law.alpha == pytest.approx(found["parametric"]["alpha"])


def test_a_sweep_on_one_side_of_the_best_has_no_law_and_says_how_to_extend_it(tmp_path: Path) -> None:
    here = work(tmp_path / "law")
    made = fit_law.body(here, sweep(tmp_path, of_best=(0.02, 0.2)), budgets=BUDGETS, target_flops=TARGET, resamples=2)
    found = json.loads((made.path / "law.json").read_text(encoding="utf-8"))
    assert found["law"] is None
    assert all(curve["advice"] == "the least loss lies at more tokens; add smaller models" for curve in found["curves"])
    assert all("floor" in found["parametric"] for _ in found["curves"])  # which needs no minimum


def test_too_few_runs_for_five_numbers_leave_the_parabolas(tmp_path: Path) -> None:
    models = tuple(
        trained(tmp_path / str(n), BUDGETS[0] / (6 * tokens), tokens, LAW.loss(BUDGETS[0] / (6 * tokens), tokens))
        for n, tokens in enumerate(np.geomspace(0.5, 2.0, 4) * LAW.best_tokens(BUDGETS[0]))
    )
    made = fit_law.body(work(tmp_path / "law"), models, budgets=BUDGETS[:1], target_flops=TARGET, resamples=2)
    found = json.loads((made.path / "law.json").read_text(encoding="utf-8"))
    assert found["parametric"] == {"none": "4 runs do not fix a law of five numbers; train 7 or more"}
    assert found["curves"][0]["inside"]
    assert found["law"] is None  # one minimum is no law over budgets


def test_models_that_do_not_share_out_over_the_budgets_are_refused(tmp_path: Path) -> None:
    models = sweep(tmp_path, of_best=(0.5, 2.0))
    for some in (models[:-1], ()):
        with pytest.raises(DataError, match=f"{len(some)} models do not share out over 3 budgets"):
            fitted(tmp_path / f"law-{len(some)}", some)


def test_curves_may_have_different_numbers_of_models(tmp_path: Path) -> None:
    models = sweep(tmp_path, of_best=(0.5, 2.0))
    uneven = (*models[1:7], *models[7:14], *models[14:19])
    found = fitted(tmp_path / "law", uneven, models_per_budget=(6, 7, 5), resamples=2)
    assert [len(curve["tokens"]) for curve in found["curves"]] == [6, 7, 5]
    assert [curve["inside"] for curve in found["curves"]] == [True] * 3
    for wrong in ((6, 7, 6), (6, 12)):
        with pytest.raises(DataError, match="18 models do not share out over 3 budgets"):
            fitted(tmp_path / f"law-{len(wrong)}", uneven, models_per_budget=wrong)
