"""RegMix: many tiny runs on mixes drawn by chance, and a regression from shares to loss."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike
from scipy.optimize import least_squares

from herd.core.errors import DataError
from herd.core.extras import import_extra
from herd.core.settings import PositiveInt
from herd.mixing.methods import LIGHTGBM, methods
from herd.mixing.problem import MixProblem, MixResult
from herd.mixing.proxies import stratified_batches, train_proxy
from herd.mixing.updates import FloatArray

Predict = Callable[[FloatArray], FloatArray]  # losses of mixes [n, k]


@methods.add
def regmix(
    problem: MixProblem,
    *,
    runs: PositiveInt = 64,
    regression: Literal["linear", "law", "lightgbm"] = "law",
    num_simulated: PositiveInt = 20_000,
    top_k: PositiveInt = 100,
    resamples: PositiveInt = 20,
) -> MixResult:
    """The mean of the mixes that a regression over `runs` small runs holds for the best; its spread is from runs drawn
    again. The proxy's tokens are those of all runs together.

    regression: `law` is loss = c + e^(t . shares) for each source (Ye et al. 2024, Data Mixing Laws), `lightgbm` takes
    the package. Source: Liu et al. 2024 (RegMix), section 3; mixes by its program, strengths .1 to 5.
    """
    rng = np.random.default_rng(problem.seed)
    mixes = draw_mixes(problem.proportions, runs, rng)
    run = replace(problem.proxy, tokens=max(problem.proxy.batch_tokens, problem.proxy.tokens // runs))
    losses = []
    for number, weights in enumerate(mixes):
        _, curve = train_proxy(
            replace(problem, on_progress=lambda progress: None),
            run,
            stratified_batches(problem, run, problem.named(weights)),
        )
        losses.append([curve.last.losses[name] for name in problem.sources])
        problem.on_progress((number + 1) / runs)
    observed = np.array(losses)
    simulated_mixes = draw_mixes(problem.proportions, num_simulated, rng)
    weights = best_of(fit(regression, mixes, observed), simulated_mixes, top_k)
    resampled = []
    for _ in range(resamples):
        rows = rng.integers(0, runs, runs)
        resampled.append(best_of(fit(regression, mixes[rows], observed[rows]), simulated_mixes, top_k))
    spread = np.std(resampled, 0, ddof=1) if resamples > 1 else np.zeros(len(weights))
    return MixResult(
        problem.named(weights),
        problem.flops(run.steps * run.batch_tokens * runs),
        spread={name: float(value) for name, value in zip(problem.sources, spread, strict=True)},
    )


def draw_mixes(prior: FloatArray, count: int, rng: np.random.Generator) -> FloatArray:
    """Mixes around the sources' own proportions, smoothed by their square root, some close to it, some far: [count, k].

    Source: the program of Liu et al. 2024: temperature .5, strengths .1 to 5, at most 15 times a source's proportion,
    at least 2e-4.
    """
    smooth = np.sqrt(prior) / np.sqrt(prior).sum()
    mixes: list[FloatArray] = []
    for _ in range(1000):
        strengths = np.exp(rng.uniform(np.log(0.1), np.log(5.0), 4 * count))
        samples = np.array([rng.dirichlet(np.maximum(strength * smooth * len(prior), 1e-3)) for strength in strengths])
        samples = np.where(samples < 2e-4, 0.0, samples)
        good = (samples <= np.maximum(15 * prior, 1 / len(prior))).all(1) & (samples.sum(1) > 0)
        mixes += list(samples[good] / samples[good].sum(1, keepdims=True))
        if len(mixes) >= count:
            return np.array(mixes[:count])
    raise DataError("no mixes can be drawn around these proportions; give the smallest sources more text")


def best_of(predict: Predict, mixes: FloatArray, count: int) -> FloatArray:
    """The mean of the `count` mixes with the lowest predicted loss."""
    order = np.argsort(predict(mixes))[:count]
    best_mix: FloatArray = mixes[order].mean(0)
    return best_mix


def fit(kind: str, mixes: ArrayLike, losses: ArrayLike) -> Predict:
    """From mixes [n, k] to the mean over sources of their losses [n, s].

    Raises DataError when there are fewer runs than what is fitted needs.
    """
    x, y = np.asarray(mixes, float), np.asarray(losses, float)
    y = y[:, None] if y.ndim == 1 else y
    fits = {"linear": _linear, "law": _law, "lightgbm": _lightgbm}
    if len(x) < x.shape[1] + 2:
        raise DataError(f"{len(x)} runs are too few for {x.shape[1]} sources; make {2 * x.shape[1] + 2} or more")
    parts = [fits[kind](x, column) for column in y.T]
    return lambda mixes: np.mean([part(mixes) for part in parts], 0)


def _linear(x: FloatArray, y: FloatArray, ridge: float = 1e-3) -> Predict:
    """Ridge regression with an intercept."""
    middle, level = x.mean(0), y.mean()
    away = x - middle
    slopes = np.linalg.solve(away.T @ away + ridge * np.eye(x.shape[1]), away.T @ (y - level))
    return lambda mixes: level + (mixes - middle) @ slopes


def _law(x: FloatArray, y: FloatArray) -> Predict:
    """loss = floor + e^(level + t . shares), by least squares on the loss. Source: Ye et al. 2024, eq. 1."""
    spread = max(float(np.ptp(y)), 1e-9)
    start = np.concatenate([[y.min() - 0.1 * spread, np.log(spread)], np.zeros(x.shape[1])])

    def residuals(theta: FloatArray) -> FloatArray:
        errors = theta[0] + np.exp(np.clip(theta[1] + x @ theta[2:], -30, 30)) - y
        return np.concatenate([errors, 1e-2 * spread * theta[2:] / len(x) ** 0.5])  # holds what the runs leave open

    solution = least_squares(residuals, start, method="trf", max_nfev=200).x
    return lambda mixes: solution[0] + np.exp(np.clip(solution[1] + mixes @ solution[2:], -30, 30))


def _lightgbm(x: FloatArray, y: FloatArray) -> Predict:
    """Boosted trees with the paper's settings."""
    lightgbm = import_extra(LIGHTGBM)
    num_valid = max(1, len(x) // 5)
    data = lightgbm.Dataset(x[:-num_valid], y[:-num_valid])
    params = {"objective": "regression", "metric": "l1", "learning_rate": 0.01, "seed": 42, "verbosity": -1}
    params |= {"min_data_in_leaf": max(1, len(x) // 20), "num_threads": 1}
    stop = lightgbm.early_stopping(3, verbose=False)
    trees = lightgbm.train(
        params,
        data,
        num_boost_round=1000,
        valid_sets=[data.create_valid(x[-num_valid:], y[-num_valid:])],
        callbacks=[stop],
    )
    return lambda mixes: np.asarray(trees.predict(mixes), float)
