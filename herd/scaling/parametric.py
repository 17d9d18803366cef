"""The parametric law fitted to runs of any size and length, beside the parabolas of equal compute."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from herd.core.errors import ArtifactError, DataError
from herd.core.manifests import check_files
from herd.evals.intervals import percentiles
from herd.scaling.laws import Chinchilla

FEWEST_RUNS = 7  # five numbers are fitted
_EXPONENTS = np.linspace(0.05, 1.0, 20)
_HUBER = 1e-3  # of a logarithm, as in the paper


@dataclass(frozen=True)
class ParametricFit:
    """A parametric law and laws from resampled runs, for intervals. median_error: of the runs' losses, a share.
    residuals: log of each run's loss less log of what the law says of it; none where the runs are not at hand."""

    law: Chinchilla
    resampled: tuple[Chinchilla, ...]
    median_error: float
    residuals: tuple[float, ...] = ()

    def interval(self, parameter: str) -> tuple[float, float]:
        """The middle 95 % of `floor`, `a`, `b`, `alpha` or `beta`."""
        return percentiles([getattr(sample, parameter) for sample in self.resampled])

    def loss_interval(self, num_params: float, tokens: float, *, predictive: bool = False) -> tuple[float, float]:
        """The middle 95 % of the law's loss for a run of so many weights and tokens, in nats a token.

        predictive: of the loss that such a run will be measured at, which lies off its law as the runs fitted do: every
        resampled law with every residual. Raises ArtifactError when the residuals are not at hand. Source: Efron and
        Tibshirani 1993, chapters 9 and 25.
        """
        losses = np.array([sample.loss(num_params, tokens) for sample in self.resampled])
        if not predictive:
            return percentiles(losses)
        if not self.residuals:
            raise ArtifactError("the law says nothing of how far runs lie off it; fit it again from its runs")
        count = len(self.residuals)
        # Five numbers are fitted, so the residuals are smaller than the noise by this much.
        off = np.array(self.residuals) * math.sqrt(count / max(1, count - len(_NUMBERS)))
        return percentiles(np.outer(losses, np.exp(off)).ravel())


def parametric_row(fit: ParametricFit) -> dict[str, Any]:
    """A fit as plain data, with the resampled laws, from which intervals of any figure follow."""
    row: dict[str, Any] = {name: getattr(fit.law, name) for name in _NUMBERS}
    row |= {"intervals": {name: list(fit.interval(name)) for name in _NUMBERS}, "median_error": fit.median_error}
    return row | {"drawn": [_parameters(sample) for sample in fit.resampled]}


def _parameters(law: Chinchilla) -> list[float]:
    return [getattr(law, name) for name in _NUMBERS]


def read_law(path: Path) -> ParametricFit:
    """The parametric law of a `Law` artifact, of its `law.json`, or the newest one of a run.

    Raises ArtifactError when there is none, or when its fit had too few runs.
    """
    files = [path] if path.is_file() else [*path.glob("law.json"), *path.glob("artifacts/fit_law-*/law.json")]
    if not files or not files[0].exists():
        raise ArtifactError(f"{path} holds no law.json; name a run with a ladder, or the folder of its fit_law")
    newest = max(files, key=lambda file: file.stat().st_mtime)
    check_files(newest.parent, newest.name)
    return parametric_of(json.loads(newest.read_text(encoding="utf-8")), where=str(newest))


def parametric_of(row: Mapping[str, Any], *, where: str) -> ParametricFit:
    """The parametric law in what `fit_law` found out, as plain data (a `ScalingLaw`), with the residuals of the runs
    beside it. where: the data come from, for the message.

    Raises ArtifactError when the fit had too few runs.
    """
    numbers = row["parametric"]
    if "none" in numbers or "drawn" not in numbers:
        raise ArtifactError(
            f"{where} has no parametric law: {numbers.get('none', 'fitted by an older herd; fit again')}"
        )
    resampled = tuple(Chinchilla(**dict(zip(_NUMBERS, drawn, strict=True))) for drawn in numbers["drawn"])
    law = Chinchilla(**{name: numbers[name] for name in _NUMBERS})
    columns = [np.concatenate([curve[name] for curve in row.get("curves", ())] or [[]]) for name in _RUN_COLUMNS]
    return ParametricFit(law, resampled, numbers["median_error"], _residuals(law, *columns))


_NUMBERS = ("floor", "a", "b", "alpha", "beta")
_RUN_COLUMNS = ("num_params", "tokens", "losses")  # of each curve of a `ScalingLaw`


def _residuals(law: Chinchilla, num_params: ArrayLike, tokens: ArrayLike, losses: ArrayLike) -> tuple[float, ...]:
    """Log of each run's loss less log of what the law says of it."""
    runs = zip(*(np.asarray(column, float).tolist() for column in (num_params, tokens, losses)), strict=True)
    return tuple(math.log(loss / law.loss(weights, count)) for weights, count, loss in runs)


def fit_parametric(
    num_params: ArrayLike, tokens: ArrayLike, losses: ArrayLike, *, resamples: int = 100, seed: int = 0
) -> ParametricFit:
    """loss = floor + a / num_params^alpha + b / tokens^beta, least Huber loss between logarithms.

    Raises DataError for fewer than seven runs, a loss that is not positive and finite, or runs that all have one size
    or one length. Source: Hoffmann et al. 2022, approach 3 (eq. 3); the starts are found by solving for floor, a and b
    at exponents on a grid, where the paper tries a grid of all five.
    """
    from scipy.special import logsumexp  # scipy takes half a second, which planning has no use for

    runs = np.log(np.array([num_params, tokens, losses], float))
    if runs.shape[1] < FEWEST_RUNS:
        raise DataError(f"{runs.shape[1]} runs do not fix a law of five numbers; train {FEWEST_RUNS} or more")
    if not np.isfinite(runs).all():
        bad = int(np.flatnonzero(~np.isfinite(runs).all(0))[0])
        raise DataError(f"run {bad + 1} has no finite, positive loss; leave it out, or train it at a lower lr")
    for name, row in (("weights", runs[0]), ("tokens", runs[1])):
        if np.ptp(row) < 1e-9:
            raise DataError(f"all runs have the same {name}; vary them, or nothing is known of what they do")
    best = min((_polish(runs, start) for start in _starts(runs)), key=lambda fit: fit[1])
    rng = np.random.default_rng(seed)
    resampled = [_polish(runs[:, rng.integers(0, runs.shape[1], runs.shape[1])], best[0]) for _ in range(resamples)]
    predicted = logsumexp(_terms(best[0], runs[0], runs[1]), axis=0)
    median_error = float(np.median(np.abs(np.expm1(predicted - runs[2]))))
    law = _law(best[0])
    residuals = _residuals(law, num_params, tokens, losses)
    return ParametricFit(law, tuple(_law(theta) for theta, _ in resampled), median_error, residuals)


def _law(theta: NDArray[np.float64]) -> Chinchilla:
    a, b, e, alpha, beta = (float(value) for value in theta)
    return Chinchilla(floor=float(np.exp(e)), a=float(np.exp(a)), b=float(np.exp(b)), alpha=alpha, beta=beta)


def _terms(theta: NDArray[np.float64], log_n: NDArray[np.float64], log_d: NDArray[np.float64]) -> NDArray[np.float64]:
    a, b, e, alpha, beta = theta
    return np.stack((a - alpha * log_n, b - beta * log_d, np.full_like(log_n, e)))


def _polish(runs: NDArray[np.float64], start: NDArray[np.float64]) -> tuple[NDArray[np.float64], float]:
    """L-BFGS from a start: the five numbers and what is left."""
    from scipy.optimize import minimize

    log_n, log_d, log_loss = runs

    def objective(theta: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        terms = _terms(theta, log_n, log_d)
        highest = terms.max(0)  # scipy's logsumexp takes three times as long for so few numbers
        parts = np.exp(terms - highest)
        total = parts.sum(0)
        residuals = highest + np.log(total) - log_loss
        far = np.abs(residuals) > _HUBER
        value = np.where(far, _HUBER * (np.abs(residuals) - _HUBER / 2), residuals**2 / 2).sum()
        slope = np.clip(residuals, -_HUBER, _HUBER) * parts / total
        by_number = (slope[0], slope[1], slope[2], -slope[0] * log_n, -slope[1] * log_d)
        return float(value) * 1e4, np.array([gradient.sum() for gradient in by_number]) * 1e4  # else it ends too soon

    limits = [(-30, 60), (-30, 60), (-10, 5), (0.0, 2.0), (0.0, 2.0)]
    fit = minimize(
        objective, start, jac=True, method="L-BFGS-B", bounds=limits, options={"maxiter": 3000, "ftol": 1e-13}
    )
    return np.asarray(fit.x), float(fit.fun)


def _starts(runs: NDArray[np.float64], keep: int = 5) -> list[NDArray[np.float64]]:
    """The best of a grid of exponents, with floor, a and b by least squares that are not negative."""
    from scipy.optimize import nnls

    log_n, log_d, log_loss = runs
    loss = np.exp(log_loss)
    candidates = []
    for alpha in _EXPONENTS:
        for beta in _EXPONENTS:
            # Relative to the middle of the runs, or the columns would differ by orders of magnitude.
            columns = (np.exp(-alpha * (log_n - log_n.mean())), np.exp(-beta * (log_d - log_d.mean())))
            (a, b, floor), residual = nnls(
                np.stack((*columns, np.ones_like(loss)), 1) / loss[:, None], np.ones_like(loss)
            )
            numbers = np.log(np.maximum((a, b, floor), 1e-6))
            shift = (alpha * log_n.mean(), beta * log_d.mean(), 0.0)
            candidates.append((residual, np.array([*(numbers + shift), alpha, beta])))
    return [theta for _, theta in sorted(candidates, key=lambda candidate: candidate[0])[:keep]]
