"""What a ladder foretold of the base run, beside what was measured."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from herd.core.results import results
from herd.evals.results import EvaluationResult
from herd.report.sections import Section
from herd.report.sections.forecasts import forecasts_section, loss_checks
from herd.scaling.laws import Chinchilla
from herd.scaling.parametric import fit_parametric, parametric_row
from herd.scaling.results import IsoFlopCurve, ScalingLaw, TaskForecasts
from herd.scaling.tasks import task_forecast
from herd.train.results import HeldOutLoss, TrainingResult
from tests.results import Made
from tests.scaling.test_downstream import CURVE, family
from tests.scaling.test_parametric import planted
from tests.scaling.test_tasks import task_result

LAW = Chinchilla()
MIX = {"settings": {"mix": [{"until": 1.0, "mixture_weights": {"books": 0.75, "wiki": 0.25}}]}}


def training(weights: float, tokens: float, loss: float, *, length: int = 128, **sources: float) -> TrainingResult:
    """A run whose held-out losses lie about `loss` by `sources`."""
    held_out = {name: HeldOutLoss(loss + off, 1.0, 6144) for name, off in sources.items()}
    return TrainingResult(round(weights), round(tokens), 6 * weights * tokens, loss, length, {}, held_out)


def made(*recorded: Any, key: str, stage: str, inputs: dict[str, Any] | None = None) -> Made:
    artifact = Made(*recorded, key=key)
    artifact.metadata |= {"stage": stage, "inputs": inputs or {}, "settings": MIX}
    return artifact


def run(measured: float, *, length: int = 128, base_inputs: dict[str, Any] | None = None) -> list[Made]:
    """A ladder with its law and a base model, whose loss in the ladder's mix is `measured` times the law's."""
    weights, tokens, losses = planted(LAW, 5e-3, 0)
    rungs = [
        made(training(n, d, y, books=0.0, wiki=0.0), key=f"rung-{number}", stage="pretrain")
        for number, (n, d, y) in enumerate(zip(weights, tokens, losses, strict=True))
    ]
    runs = (tuple(tokens), tuple(losses), tuple(weights))
    curve = IsoFlopCurve(1e20, *runs, (1.0, 0.0, 3.0), 1.0, False, "", None, None)
    fit = fit_parametric(weights, tokens, losses, resamples=20)
    law = ScalingLaw((curve,), None, parametric_row(fit), 1e23)
    loss = measured * fit.law.loss(1e10, 2e11)
    # A quarter is wiki, which lies .3 above, so that books lie .1 below.
    off = {"books": -0.1, "wiki": 0.3, "other": 5.0}
    base = replace(training(1e10, 2e11, loss, length=length, **off), loss=99.0)
    of_rungs = made(law, key="law", stage="fit_law", inputs={"models": [rung.key for rung in rungs]})
    return [*rungs, of_rungs, made(base, key="base", stage="pretrain", inputs=base_inputs)]


def shown(artifacts: list[Made]) -> str:
    section = forecasts_section(artifacts)  # type: ignore[arg-type]
    assert isinstance(section, Section)
    return str(section.html)


def test_the_base_is_held_against_the_law_in_the_ladders_own_mix() -> None:
    (check,) = loss_checks(run(1.0))  # type: ignore[arg-type]
    assert check.run == "base"
    assert check.measured == pytest.approx(check.predicted.value)
    assert check.predicted.holds(check.measured)
    assert check.predicted.value == pytest.approx(LAW.loss(1e10, 2e11), rel=0.02)
    (far,) = loss_checks(run(1.1))  # type: ignore[arg-type]
    assert not far.predicted.holds(far.measured)
    html = shown(run(1.1))
    assert "outside the interval" in html
    assert "whose loss is another by itself" not in html
    assert "rows of 128 tokens and the run rows of 256" in shown(run(1.0, length=256))


def test_what_goes_on_from_another_model_is_not_held_against_the_law() -> None:
    assert loss_checks(run(1.0, base_inputs={"init_from": "rung-3"})) == []  # type: ignore[arg-type]
    assert loss_checks(run(1.0)[-1:]) == []  # type: ignore[arg-type]
    few = ScalingLaw((), None, {"none": "too few"}, 1e23)
    assert loss_checks([made(few, key="law", stage="fit_law"), run(1.0)[-1]]) == []  # type: ignore[arg-type]


def test_scores_stand_beside_what_the_ladder_foretold_of_them() -> None:
    *runs, largest = [one for one in family(3) if one.best_size]
    runs += [one for one in family(3) if not one.best_size]
    forecast = TaskForecasts(
        3.8e25,
        {
            "riddles <b>": task_forecast(runs, 3.8e25, chance=0.25),
            "noise": task_forecast(runs[:2], 3.8e25, chance=0.25),
        },
    )
    results.to_row(forecast)  # can be written down
    base = made(training(1e10, 2e11, 2.0), key="base", stage="pretrain")
    tasks = {"riddles <b>": task_result(largest.nll, float(CURVE.at(largest.nll)))}
    models = {"the base": "base", "a rung": "base", "a chat": "base", "theirs": "gone"}
    evaluations = [
        made(
            EvaluationResult(label, label == "a chat", tasks),
            key=f"scores-{label}",
            stage="evaluate_model",
            inputs={"model": model},
        )
        for label, model in models.items()
    ]
    foretold = made(forecast, key="forecast", stage="forecast_tasks", inputs={"scores": ["scores-a rung"]})
    html = shown([base, *evaluations, foretold])
    assert "the base: " in html
    assert "nats inside" in html
    assert not any(label in html for label in ("a rung", "a chat", "theirs"))
    assert "riddles &lt;b&gt;" in html
    assert "none: 2 models of the best size" in html
    assert "<svg" in html
    assert np.isfinite(forecast.tasks["riddles <b>"].orders)


def test_a_run_that_foretold_nothing_has_no_section() -> None:
    assert forecasts_section([made(training(1e6, 1e7, 3.0), key="base", stage="pretrain")]) is None  # type: ignore[arg-type]
