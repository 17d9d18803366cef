"""The parametric law: planted ones are fitted again, and a fit that was written down is read back."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from herd.core.errors import ArtifactError, DataError
from herd.model.sizes import model_size
from herd.scaling.cost import expected_loss, loss_line
from herd.scaling.laws import Chinchilla
from herd.scaling.parametric import ParametricFit, fit_parametric, parametric_row, read_law
from herd.train.cost import TrainingJob


def planted(law: Chinchilla, noise: float, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Weights, tokens and losses of a sweep: five budgets, seven sizes each."""
    budgets = np.repeat(np.geomspace(6e18, 1e22, 5), 7)
    tokens = np.array([law.best_tokens(one) for one in budgets]) * np.tile(np.geomspace(0.2, 5, 7), 5)
    weights = budgets / (6 * tokens)
    exact = np.array([law.loss(n, d) for n, d in zip(weights, tokens, strict=True)])
    return weights, tokens, exact * np.exp(np.random.default_rng(seed).normal(0, noise, len(exact)))


@pytest.mark.row(29, "fit")
@pytest.mark.parametrize("law", [Chinchilla(), Chinchilla(1.817, 482.0, 2085.4, 0.348, 0.366)])
def test_a_planted_parametric_law_is_fitted(law: Chinchilla, figure) -> None:
    exact = fit_parametric(*planted(law, 0.0, 0), resamples=0).law
    assert exact.alpha == pytest.approx(law.alpha, abs=2e-3)
    assert exact.beta == pytest.approx(law.beta, abs=2e-3)
    assert exact.floor == pytest.approx(law.floor, rel=5e-3)
    noisy = fit_parametric(*planted(law, 2e-3, 1), resamples=40)
    figure(f"alpha {noisy.law.alpha:.3f} for {law.alpha}, beta {noisy.law.beta:.3f} for {law.beta}, noise .2 %")
    assert noisy.law.alpha == pytest.approx(law.alpha, abs=0.03)
    assert noisy.law.beta == pytest.approx(law.beta, abs=0.03)
    far = 3.8e25
    low, high = noisy.loss_interval(law.best_num_params(far), law.best_tokens(far))
    assert low * 0.98 < law.loss(law.best_num_params(far), law.best_tokens(far)) < high * 1.02
    assert noisy.interval("alpha")[0] < noisy.law.alpha < noisy.interval("alpha")[1]


def test_runs_that_fix_no_law_are_told() -> None:
    weights, tokens, losses = planted(Chinchilla(), 0.0, 0)
    with pytest.raises(DataError, match="6 runs do not fix"):
        fit_parametric(weights[:6], tokens[:6], losses[:6])
    with pytest.raises(DataError, match="run 3 has no finite, positive loss"):
        fit_parametric(weights, tokens, np.where(np.arange(len(losses)) == 2, np.nan, losses))
    with pytest.raises(DataError, match="same weights"):
        fit_parametric(np.full_like(weights, 1e9), tokens, losses)


def test_a_budget_tells_the_loss_to_expect_by_the_law_of_a_run(tmp_path: Path) -> None:
    truth = Chinchilla()
    chance = np.random.default_rng(0)
    weights, tokens = (np.exp(chance.uniform(np.log(low), np.log(high), 40)) for low, high in ((1e7, 1e9), (1e9, 1e11)))
    losses = [truth.loss(n, d) * (1 + 0.002 * chance.normal()) for n, d in zip(weights, tokens, strict=True)]
    file = tmp_path / "law.json"
    file.write_text(json.dumps({"parametric": parametric_row(fit_parametric(weights, tokens, losses))}))
    job = TrainingJob(model_size("8b").shape(vocab_size=128_256), 1e12, 8192, 2**22)
    found = expected_loss(job, tmp_path)
    low, high = found["interval"]
    wanted = truth.loss(job.shape.num_params, 1e12)
    assert low <= found["loss"] <= high
    assert found["loss"] == pytest.approx(wanted, abs=0.05)
    assert loss_line(found).startswith(f"loss      {found['loss']:.3f} nats a token [")
    assert read_law(file).law.loss(1e9, 1e11) == pytest.approx(truth.loss(1e9, 1e11), rel=0.01)
    file.write_text(json.dumps({"parametric": {"none": "4 runs do not fix a law"}}))
    with pytest.raises(ArtifactError, match="has no parametric law: 4 runs do not fix a law"):
        read_law(file)
    with pytest.raises(ArtifactError, match=r"holds no law.json; name a run with a ladder"):
        read_law(tmp_path / "nothing")


def test_a_fit_is_the_same_for_the_same_seed_and_tells_how_far_it_is_off() -> None:
    runs = planted(Chinchilla(), 5e-3, 3)
    once, again, other = (fit_parametric(*runs, resamples=4, seed=seed) for seed in (0, 0, 1))
    assert once == again
    assert once.law == other.law
    assert once.resampled != other.resampled
    weights, tokens, losses = runs
    off = [abs(once.law.loss(n, d) / y - 1) for n, d, y in zip(weights, tokens, losses, strict=True)]
    assert once.median_error == pytest.approx(np.median(off))
    assert 1e-3 < once.median_error < 1e-2


def test_one_wild_run_does_not_move_the_law() -> None:
    """Huber's loss counts what is far off by its distance; squares would follow it."""
    weights, tokens, losses = planted(Chinchilla(), 0.0, 0)
    wild = losses * np.where(np.arange(len(losses)) == 17, 3.0, 1.0)
    found = fit_parametric(weights, tokens, wild, resamples=0).law
    assert found.alpha == pytest.approx(0.34, abs=0.02)
    assert found.beta == pytest.approx(0.28, abs=0.02)


def test_a_fit_is_read_back_as_it_was_written_and_of_several_the_newest_is_taken(tmp_path: Path) -> None:
    folder, row = tmp_path, {}
    drawn = (Chinchilla(floor=1.6), Chinchilla(floor=1.8))
    for number, floor in enumerate((1.69, 1.7)):
        folder = tmp_path / "artifacts" / f"fit_law-{number}"
        folder.mkdir(parents=True)
        row = parametric_row(ParametricFit(Chinchilla(floor=floor), drawn, 0.01))
        assert row["intervals"]["alpha"] == [0.34, 0.34]
        (folder / "law.json").write_text(json.dumps({"parametric": row}))
        os.utime(folder / "law.json", (number, number))
    assert read_law(tmp_path) == ParametricFit(Chinchilla(floor=1.7), drawn, 0.01)
    assert read_law(folder).interval("floor") == pytest.approx((1.605, 1.795))
    del row["drawn"]
    (folder / "law.json").write_text(json.dumps({"parametric": row}))
    with pytest.raises(ArtifactError, match="fitted by an older herd; fit again"):
        read_law(folder)


def test_runs_of_one_length_fix_no_law() -> None:
    weights, tokens, losses = planted(Chinchilla(), 0.0, 0)
    with pytest.raises(DataError, match="same tokens"):
        fit_parametric(weights, np.full_like(tokens, 1e9), losses)


def test_a_run_measured_later_lies_in_the_predictive_interval_and_not_in_that_of_the_law() -> None:
    law, noise = Chinchilla(), 0.01
    fit = fit_parametric(*planted(law, noise, 5), resamples=40)
    weights, tokens = law.best_num_params(5e22), law.best_tokens(5e22)  # five times the largest budget
    later = law.loss(weights, tokens) * np.exp(np.random.default_rng(1).normal(0, noise, 400))
    inside = {}
    for predictive in (False, True):
        low, high = fit.loss_interval(weights, tokens, predictive=predictive)
        inside[predictive] = float(np.mean((later > low) & (later < high)))
    assert inside[True] > 0.9
    assert inside[False] < inside[True]


def test_without_the_runs_nothing_is_said_of_what_a_run_will_be_measured_at() -> None:
    fit = ParametricFit(Chinchilla(), (Chinchilla(floor=1.6), Chinchilla(floor=1.8)), 0.01)
    with pytest.raises(ArtifactError, match="how far runs lie off it; fit it again"):
        fit.loss_interval(1e9, 1e10, predictive=True)
    exact = replace(fit, residuals=(0.0,) * 9)
    assert exact.loss_interval(1e9, 1e10, predictive=True) == pytest.approx(exact.loss_interval(1e9, 1e10), abs=6e-3)


def test_the_scatter_of_the_runs_is_read_back_from_the_curves_beside_the_law(tmp_path: Path) -> None:
    weights, tokens, losses = planted(Chinchilla(), 5e-3, 4)
    fit = fit_parametric(weights, tokens, losses, resamples=3)
    curves = [
        {"num_params": list(weights[part]), "tokens": list(tokens[part]), "losses": list(losses[part])}
        for part in (slice(0, 20), slice(20, None))
    ]
    (tmp_path / "law.json").write_text(json.dumps({"parametric": parametric_row(fit), "curves": curves}))
    again = read_law(tmp_path)
    assert again == fit
    assert again.loss_interval(1e9, 1e11, predictive=True) == fit.loss_interval(1e9, 1e11, predictive=True)
