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
from herd.core.settings import Positive
from herd.mixing.field import Field, Found
from herd.mixing.methods import methods
from herd.mixing.proxies import evenly, train_on
from herd.mixing.updates import Numbers

Predict = Callable[[Numbers], Numbers]  # losses of mixes [n, k]


@methods.add
def regmix(
    given: Field,
    *,
    runs: Positive = 64,
    regression: Literal["linear", "law", "lightgbm"] = "law",
    simulated: Positive = 20_000,
    best: Positive = 100,
    resamples: Positive = 20,
) -> Found:
    """The mean of the mixes that a regression over `runs` small runs holds for the best; its spread is from runs drawn
    again. The proxy's tokens are those of all runs together.

    regression: `law` is loss = c + e^(t . shares) for each source (Ye et al. 2024, Data Mixing Laws), `lightgbm` takes
    the package. Source: Liu et al. 2024 (RegMix), section 3; mixes by its program, strengths .1 to 5.
    """
    chance = np.random.default_rng(given.seed)
    mixes = draw_mixes(given.proportions, runs, chance)
    run = replace(given.proxy, tokens=max(given.proxy.batch_tokens, given.proxy.tokens // runs))
    losses = []
    for number, shares in enumerate(mixes):
        _, curve = train_on(replace(given, say=lambda done: None), run, evenly(given, run, given.named(shares)))
        losses.append([curve.last.losses[name] for name in given.sources])
        given.say((number + 1) / runs)
    found = np.array(losses)
    imagined = draw_mixes(given.proportions, simulated, chance)
    shares = best_of(fit(regression, mixes, found), imagined, best)
    again = []
    for _ in range(resamples):
        rows = chance.integers(0, runs, runs)
        again.append(best_of(fit(regression, mixes[rows], found[rows]), imagined, best))
    spread = np.std(again, 0, ddof=1) if resamples > 1 else np.zeros(len(shares))
    return Found(
        given.named(shares),
        given.flops(run.steps * run.batch_tokens * runs),
        spread={name: float(one) for name, one in zip(given.sources, spread, strict=True)},
    )


def draw_mixes(prior: Numbers, count: int, chance: np.random.Generator) -> Numbers:
    """Mixes around the sources' own proportions, smoothed by their square root, some close to it, some far: [count, k].

    Source: the program of Liu et al. 2024: temperature .5, strengths .1 to 5, at most 15 times a source's proportion,
    at least 2e-4.
    """
    smooth = np.sqrt(prior) / np.sqrt(prior).sum()
    kept: list[Numbers] = []
    for _ in range(1000):
        strengths = np.exp(chance.uniform(np.log(0.1), np.log(5.0), 4 * count))
        drawn = np.array([chance.dirichlet(np.maximum(strength * smooth * len(prior), 1e-3)) for strength in strengths])
        drawn = np.where(drawn < 2e-4, 0.0, drawn)
        good = (drawn <= np.maximum(15 * prior, 1 / len(prior))).all(1) & (drawn.sum(1) > 0)
        kept += list(drawn[good] / drawn[good].sum(1, keepdims=True))
        if len(kept) >= count:
            return np.array(kept[:count])
    raise DataError("no mixes can be drawn around these proportions; give the smallest sources more text")


def best_of(predict: Predict, imagined: Numbers, count: int) -> Numbers:
    """The mean of the `count` mixes foretold the lowest loss."""
    order = np.argsort(predict(imagined))[:count]
    found: Numbers = imagined[order].mean(0)
    return found


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


def _linear(x: Numbers, y: Numbers, ridge: float = 1e-3) -> Predict:
    """Ridge regression with an intercept."""
    middle, level = x.mean(0), y.mean()
    away = x - middle
    slopes = np.linalg.solve(away.T @ away + ridge * np.eye(x.shape[1]), away.T @ (y - level))
    return lambda mixes: level + (mixes - middle) @ slopes


def _law(x: Numbers, y: Numbers) -> Predict:
    """loss = floor + e^(level + t . shares), by least squares on the loss. Source: Ye et al. 2024, eq. 1."""
    spread = max(float(np.ptp(y)), 1e-9)
    start = np.concatenate([[y.min() - 0.1 * spread, np.log(spread)], np.zeros(x.shape[1])])

    def off(theta: Numbers) -> Numbers:
        rest = theta[0] + np.exp(np.clip(theta[1] + x @ theta[2:], -30, 30)) - y
        return np.concatenate([rest, 1e-2 * spread * theta[2:] / len(x) ** 0.5])  # holds what the runs leave open

    found = least_squares(off, start, method="trf", max_nfev=200).x
    return lambda mixes: found[0] + np.exp(np.clip(found[1] + mixes @ found[2:], -30, 30))


def _lightgbm(x: Numbers, y: Numbers) -> Predict:
    """Boosted trees with the paper's settings."""
    lightgbm = import_extra("lightgbm", "mixing", "regression lightgbm")
    held = max(1, len(x) // 5)
    data = lightgbm.Dataset(x[:-held], y[:-held])
    numbers = {"objective": "regression", "metric": "l1", "learning_rate": 0.01, "seed": 42, "verbosity": -1}
    numbers |= {"min_data_in_leaf": max(1, len(x) // 20), "num_threads": 1}
    stop = lightgbm.early_stopping(3, verbose=False)
    trees = lightgbm.train(
        numbers, data, num_boost_round=1000, valid_sets=[data.create_valid(x[-held:], y[-held:])], callbacks=[stop]
    )
    return lambda mixes: np.asarray(trees.predict(mixes), float)
