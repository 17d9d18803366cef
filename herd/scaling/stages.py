"""From the losses of small models to a law, and to what it says about the run to come."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from herd.core.artifacts import Checkpoint, Law
from herd.core.errors import DataError
from herd.core.settings import AddedLater, PositiveFloat, PositiveInt
from herd.core.stage import Work, stage
from herd.evals.intervals import percentiles
from herd.scaling.budget import by_budget
from herd.scaling.laws import Parabola, PowerLaw, parabola, power_law
from herd.scaling.parametric import fit_parametric, parametric_row
from herd.scaling.results import IsoFlopCurve, PowerLawFit, ScalingLaw
from herd.train.results import TrainingResult


@stage(paper="3.2.1", version=3)
def fit_law(
    work: Work,
    models: tuple[Checkpoint, ...],
    *,
    budgets: tuple[PositiveFloat, ...],
    target_flops: PositiveFloat,
    resamples: PositiveInt = 500,
    seed: int = 0,
    models_per_budget: AddedLater[tuple[PositiveInt, ...]] = (),
) -> Law:
    """How many tokens are best at each compute budget, and at `target_flops`.

    models: in the order of `budgets`, as many for each as `models_per_budget` says, equally many when it is absent.
    Curves without a minimum inside the sizes trained are left out, with how to extend the sweep. Beside it stands the
    parametric law of all runs. Intervals: residual bootstrap over the points of each curve.
    """
    if not models or (
        (len(models_per_budget), sum(models_per_budget)) != (len(budgets), len(models))
        if models_per_budget
        else len(models) % len(budgets)
    ):
        raise DataError(f"{len(models)} models do not share out over {len(budgets)} budgets; mend the recipe's ladder")
    trained = [model.result(TrainingResult) for model in models]
    tokens = by_budget(budgets, [training.tokens for training in trained], models_per_budget)
    losses = by_budget(budgets, [training.loss for training in trained], models_per_budget)
    num_params = by_budget(budgets, [training.num_params for training in trained], models_per_budget)
    curves = [parabola(x, y) for x, y in zip(tokens, losses, strict=True)]
    law = _law(budgets, curves)
    resampled = list(_resampled(budgets, tokens, losses, curves, resamples, seed)) if law else []
    result = ScalingLaw(
        curves=tuple(_curve(*row) for row in zip(budgets, curves, tokens, losses, num_params, strict=True)),
        law=None if law is None else _fit(law, resampled, target_flops),
        parametric=_parametric_row(num_params, tokens, losses, seed),
        target_flops=target_flops,
    )
    (work.out / "law.json").write_text(json.dumps(asdict(result), indent=1), encoding="utf-8")
    work.record(result)
    work.headline = _headline(law, target_flops, budgets, curves)
    return Law(work.out)


def _law(budgets: Sequence[float], curves: Sequence[Parabola]) -> PowerLaw | None:
    """The law through the minima; None when fewer than two curves have one."""
    inside = [(budget, curve.tokens) for budget, curve in zip(budgets, curves, strict=True) if curve.is_inside]
    return power_law(*zip(*inside, strict=True)) if len(inside) >= 2 else None


def _resampled(
    budgets: Sequence[float],
    tokens: Sequence[Sequence[float]],
    losses: Sequence[Sequence[float]],
    curves: Sequence[Parabola],
    resamples: int,
    seed: int,
) -> Any:
    """Laws through curves whose residuals were resampled."""
    rng = np.random.default_rng(seed)
    for _ in range(resamples):
        redrawn = []
        for x, y, curve in zip(tokens, losses, curves, strict=True):
            smooth = np.array([curve.at(value) for value in x])
            # Three parameters are fitted, so the residuals are smaller than the noise by this much.
            residuals = (np.asarray(y) - smooth) * np.sqrt(len(x) / max(1, len(x) - 3))
            redrawn.append(parabola(x, smooth + rng.choice(residuals, len(residuals))))
        law = _law(budgets, redrawn)
        if law is not None:
            yield law


def _curve(
    budget: float, curve: Parabola, tokens: list[float], losses: list[float], num_params: list[float]
) -> IsoFlopCurve:
    return IsoFlopCurve(
        flops=budget,
        tokens=tuple(tokens),
        losses=tuple(losses),
        num_params=tuple(num_params),
        parabola=(curve.bend, curve.slope, curve.level),
        fit=curve.fit,
        inside=curve.is_inside,
        advice=curve.advice,
        best_tokens=curve.tokens if curve.bend > 0 else None,
        best_loss=curve.loss if curve.bend > 0 else None,
    )


def _fit(law: PowerLaw, resampled: Sequence[PowerLaw], target_flops: float) -> PowerLawFit:
    def interval(values: list[float]) -> tuple[float, float] | tuple[()]:
        return percentiles(values) if values else ()

    return PowerLawFit(
        exponent=law.exponent,
        factor=law.factor,
        exponent_interval=interval([sample.exponent for sample in resampled]),
        best_tokens=law.tokens(target_flops),
        best_tokens_interval=interval([sample.tokens(target_flops) for sample in resampled]),
        resamples_with_a_law=len(resampled),
    )


def _parametric_row(
    num_params: list[list[float]], tokens: list[list[float]], losses: list[list[float]], seed: int
) -> dict[str, Any]:
    """The parametric law through all runs, or why there is none."""
    try:
        return parametric_row(
            fit_parametric(*(np.concatenate(rows) for rows in (num_params, tokens, losses)), seed=seed)
        )
    except DataError as fault:
        return {"none": str(fault)}


def _headline(law: PowerLaw | None, target_flops: float, budgets: Sequence[float], curves: Sequence[Parabola]) -> str:
    advice = [
        f"at {budget:.1e} FLOPs {curve.advice}" for budget, curve in zip(budgets, curves, strict=True) if curve.advice
    ]
    joined_advice = "; ".join(advice)
    if law is None:
        return (
            f"fewer than two of {len(curves)} curves have a minimum inside the sizes trained: no law; {joined_advice}"
        )
    equation = f"tokens = {law.factor:.3g} x FLOPs^{law.exponent:.3f}; {law.tokens(target_flops):,.0f} for the base run"
    return f"{equation}; {joined_advice}" if joined_advice else equation
