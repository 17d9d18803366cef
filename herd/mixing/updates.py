"""One step of each method that moves shares while a model trains: pure functions on numbers, k sources each."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

from herd.core.errors import DataError

FloatArray = NDArray[np.float64]


def normalize(values: ArrayLike) -> FloatArray:
    """`values` as shares that sum to one. Raises DataError for negative ones, and when all are zero."""
    array = np.asarray(values, float)
    if not np.isfinite(array).all() or (array < 0).any() or array.sum() <= 0:
        raise DataError(f"{array.tolist()} are no shares; give numbers of zero and more, one of them above zero")
    return array / array.sum()


def exponentiated_gradient(weights: FloatArray, gains: FloatArray, smoothing: float) -> FloatArray:
    """Exponentiated gradient: shares times e^gains, made to sum to one and mixed with `smoothing` of the uniform."""
    logs = np.log(np.maximum(weights, 1e-300)) + gains
    grown = np.exp(logs - logs.max())
    return (1 - smoothing) * grown / grown.sum() + smoothing / len(weights)


def doremi_update(weights: FloatArray, excess: ArrayLike, *, eta: float = 1.0, smoothing: float = 1e-3) -> FloatArray:
    """Shares after a step. excess: of each source, nats a token that the proxy loses beyond the reference, each
    token's clipped at zero before the mean.

    Source: Xie et al. 2023 (DoReMi), algorithm 1.
    """
    return exponentiated_gradient(weights, eta * np.asarray(excess, float), smoothing)


def doge_scores(gram: ArrayLike, lr: float) -> FloatArray:
    """By how much a step along each source's gradient lowers the sum of all losses, to first order.

    gram: products of the sources' gradients, [k, k]. lr: the learning rate. Source: Fan et al. 2024 (DoGE), eq. 5.
    """
    return lr * np.asarray(gram, float).sum(1)


def doge_scores_as_coded(gram: ArrayLike, lr: float, *, max_rates: float = 5.0) -> FloatArray:
    """The same as the authors' program has it: without a source's product with itself, over the mean gradient norm, and
    kept within 0 and `max_rates` learning rates. Source: Fan et al.'s repository, `trainer.py`."""
    products = np.asarray(gram, float)
    norms = np.sqrt(np.diag(products))
    scores = lr * (products.sum(1) - np.diag(products)) / (norms.mean() + 1e-6)
    clipped: FloatArray = np.clip(scores, 0.0, max_rates * lr)
    return clipped


def doge_update(weights: FloatArray, scores: ArrayLike, *, mu: float = 0.01, smoothing: float = 0.0) -> FloatArray:
    """Shares after a step of mirror descent. Source: Fan et al. 2024 (DoGE), eq. 7."""
    return exponentiated_gradient(weights, np.asarray(scores, float) / mu, smoothing)


def exploration(step: int, sources: int) -> float:
    """The share of turns that EXP3 leaves to chance at `step`, counted from 1. Source: Albalak et al. 2023 (ODM)."""
    return min(1 / sources, math.sqrt(math.log(sources) / (sources * step))) if sources > 1 else 1.0


def bandit_update(rewards: ArrayLike, step: int) -> FloatArray:
    """The shares of the turn at `step`, counted from 1: more for the sources whose reward is higher.

    rewards: estimates so far. The exponent is the exploration of the step before, so that early estimates, which rest
    on little, count for more than late ones move. Source: Albalak et al. 2023 (ODM), algorithm 1.
    """
    values = np.asarray(rewards, float)
    explored = exploration(step, len(values))
    grown = np.exp(exploration(max(1, step - 1), len(values)) * (values - values.max()))
    return (1 - len(values) * explored) * grown / grown.sum() + explored
