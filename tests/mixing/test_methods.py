"""Methods of mixing on sources whose relations are planted."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.stats import spearmanr

from herd.core.errors import DataError
from herd.mixing.methods import methods
from herd.mixing.methods.regmix import draw_mixes, fit
from herd.tokens.shards import TokenShards
from tests.mixing.planted import field, language, noise, planted, run


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> TokenShards:
    """A language, a second source of it, and noise."""
    folder = tmp_path_factory.mktemp("planted")
    return planted(folder, {"target": language(1), "helper": language(1), "noise": noise})


def test_controls_give_the_shares_they_are_called_by(shards: TokenShards) -> None:
    given = field(shards)
    for name in ("uniform", "stratified_uniform", "proportional"):
        found = methods.make(methods.configure(name))(given)
        assert found.weights == pytest.approx(dict.fromkeys(given.sources, 1 / 3), abs=1e-9)
        assert found.sampled == (name == "uniform")
    own = methods.make(methods.configure("fixed_weights", label="ours", weights={"target": 0.6, "noise": 0.2}))(given)
    assert own.weights == pytest.approx({"helper": 0.0, "noise": 0.25, "target": 0.75})
    with pytest.raises(DataError, match="ours names typo"):
        methods.make(methods.configure("fixed_weights", label="ours", weights={"typo": 1.0}))(given)


@pytest.mark.row(23, "noise")
def test_doremi_gives_noise_less_than_raw_losses_would(shards: TokenShards, figure) -> None:
    given = field(shards, ("target", "noise"))
    judged, raw = (methods.make(methods.configure("doremi", eta=0.2, excess=kind))(given) for kind in (True, False))
    figure(f"share of noise {judged.weights['noise']:.2f}, by raw losses {raw.weights['noise']:.2f}")
    assert judged.weights["noise"] < raw.weights["noise"] - 0.05
    assert judged.flops > given.flops(given.proxy.tokens)
    assert judged.path
    assert judged.seconds > 0
    assert judged.baseline_seconds > 0


@pytest.mark.row(24, "helper")
@pytest.mark.parametrize("form", ["code", "paper"])
def test_doge_finds_the_helper_in_nine_of_ten_seeds(form: str, shards: TokenShards, figure) -> None:
    found = [
        methods.make(methods.configure("doge", form=form, targets=("target",), mu=2e-2))(
            field(shards, seed=seed)
        ).weights
        for seed in range(10)
    ]
    times = [one["helper"] / one["noise"] for one in found]
    twice = sum(one > 2 for one in times)
    figure(f"{form}: helper by noise {min(times):.1f} to {max(times):.1f} times, twice in {twice} of 10 seeds")
    assert twice >= 9


PRIOR = np.array([0.4, 0.3, 0.15, 0.1, 0.05])


def ranked(kind: str, runs: int, losses: Callable[[np.ndarray], np.ndarray], seed: int = 0) -> float:
    """The rank correlation of predicted and true losses of 500 mixes, after so many noisy runs."""
    chance = np.random.default_rng(seed)
    mixes, unseen = draw_mixes(PRIOR, runs, chance), draw_mixes(PRIOR, 500, chance)
    noisy = losses(mixes)
    predicted = fit(kind, mixes, noisy + chance.normal(0, 0.01, noisy.shape))(unseen)
    found: Any = spearmanr(predicted, losses(unseen).mean(1))
    return float(found.statistic)


@pytest.mark.row(25, "surface")
@pytest.mark.parametrize(("kind", "runs"), [("law", 64), ("lightgbm", 512)])
def test_a_regression_ranks_a_planted_surface_of_another_form(kind: str, runs: int, figure) -> None:
    """A source's loss falls as a power of what is read of it and of what helps it: not the law that is fitted."""
    if kind == "lightgbm":
        pytest.importorskip("lightgbm", reason="the extra `mixing` is not installed")
    helps = np.eye(5) + np.random.default_rng(1).uniform(0, 0.4, (5, 5))
    found = ranked(kind, runs, lambda mixes: 1.5 + 0.4 * (0.01 + mixes @ helps.T) ** -0.3)
    line = ranked("linear", runs, lambda mixes: 1.5 + 0.4 * (0.01 + mixes @ helps.T) ** -0.3)
    figure(f"{kind}, {runs} runs: rank correlation {found:.3f} on unseen mixes; a linear fit {line:.3f}")
    assert found >= 0.9


@pytest.mark.row(25, "published")
def test_published_mixes_are_ranked_at_a_thousand_times_the_size(figure) -> None:
    """512 mixes of the Pile by models of 1M weights rank 64 others by models of 1B. The table says its source."""
    with (Path(__file__).parent / "published_mixes.csv").open(encoding="utf-8") as file:
        rows = list(csv.reader(line for line in file if not line.startswith("#")))[1:]
    small, large = ([[float(n) for n in row[1:]] for row in rows if row[0] == weights] for weights in ("1M", "1B"))
    x, y = np.array(small)[:, :-1] / 1000, np.array(small)[:, -1]
    unseen, losses = np.array(large)[:, :-1] / 1000, np.array(large)[:, -1]
    found = {}
    for kind in ("linear", "law"):
        correlation: Any = spearmanr(fit(kind, x, y)(unseen), losses)
        found[kind] = float(correlation.statistic)
    figure(f"{len(x)} mixes at 1M rank {len(unseen)} at 1B: linear {found['linear']:.3f}, law {found['law']:.3f}")
    assert found["linear"] >= 0.85
    assert found["law"] >= 0.95


def test_a_linear_fit_ranks_a_linear_surface() -> None:
    pull = np.random.default_rng(0).normal(0, 0.3, (5, 5))
    assert ranked("linear", 64, lambda mixes: 2 + mixes @ pull.T) >= 0.95


def test_mixes_are_drawn_around_the_proportions_and_keep_the_cap() -> None:
    prior = np.array([0.9, 0.08, 0.02])
    found = draw_mixes(prior, 400, np.random.default_rng(0))
    assert found.sum(1) == pytest.approx(np.ones(400))
    assert (found <= np.maximum(15 * prior, 1 / 3) / 0.9).all()
    assert found.std(0).min() > 0.05
    with pytest.raises(DataError, match="4 runs are too few for 3 sources"):
        fit("law", found[:4], found[:4])


def test_regmix_tells_its_spread_and_leaves_noise_out(shards: TokenShards) -> None:
    given = field(shards, proxy=run(tokens=16 * 20 * 512))
    found = methods.make(methods.configure("regmix", runs=16, regression="linear", resamples=5))(given)
    assert sum(found.weights.values()) == pytest.approx(1)
    assert set(found.spread) == set(given.sources)
    assert found.flops == pytest.approx(given.flops(16 * 20 * 512))
