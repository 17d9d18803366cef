"""From compute to scores: planted and published families are foretold, and tables of results are read."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from herd.core.errors import DataError
from herd.report.plots import two_steps
from herd.scaling.downstream import (
    DownstreamResult,
    Sigmoid,
    back_test,
    fit_sigmoid,
    forecast,
    forecast_plot,
    forecasts,
    read_results,
    score_lines,
)
from herd.scaling.likelihood import fit_line

CURVE = Sigmoid(chance=0.25, top=0.97, steepness=22.0, middle=1.34)


def family(seed: int, questions: int = 1000) -> list[DownstreamResult]:
    """Models of the best size at seven budgets, and an older family that tells more of the curve: nats a character
    fall in a straight line, accuracy by a sigmoid, both with noise."""
    chance = np.random.default_rng(seed)
    runs = []
    for flops in [*np.geomspace(1e20, 1e22, 6).tolist(), 3.8e25]:
        nll = 1.42 - 0.026 * (np.log10(flops) - 20) + chance.normal(0, 1e-3)
        runs.append(DownstreamResult(flops, nll, chance.binomial(questions, CURVE.at(nll)) / questions, questions))
    for nll in (1.39, 1.36, 1.33, 1.31, 1.29, 1.27):
        runs.append(
            DownstreamResult(
                1e23, nll, chance.binomial(questions, CURVE.at(nll)) / questions, questions, best_size=False
            )
        )
    return runs


@pytest.mark.row(30, "planted")
def test_the_largest_model_is_foretold_from_the_others(figure) -> None:
    tests = [back_test(family(seed), chance=0.25, seed=seed) for seed in range(10)]
    off = sorted(abs(one.error) for one in tests)
    inside = sum(one.inside for one in tests)
    figure(f"off by {100 * off[len(off) // 2]:.1f} points (median of 10), {inside} of 10 inside the 90 % interval")
    assert tests[0].forecast.orders == pytest.approx(np.log10(3.8e3), rel=1e-6)
    assert off[len(off) // 2] < 0.05
    assert inside >= 8


@pytest.mark.row(30, "published")
@pytest.mark.parametrize("below", [1e22, 1e21, 3e20])
def test_pythias_largest_model_is_foretold_from_its_smaller_ones(below: float, figure) -> None:
    """LAMBADA by Pythia's eight models: nats of the word and accuracy at every checkpoint that was evaluated.

    The table beside this file holds 6 N D, the logarithm of the perplexity and the accuracy as published. Of each model
    the checkpoint closest to 20 tokens a weight counts as of the best size, as the report fits compute-optimal models
    only; the others show the sigmoid. Source: Biderman et al. 2023 (Pythia), zero-shot results of the release.
    """
    ((_, runs),) = read_results(Path(__file__).parent / "published_scores.csv").values()
    largest = max((run for run in runs if run.best_size), key=lambda run: run.flops)
    # Of the largest model nothing is known; of the others of the best size those below the cut.
    models = [run for run in runs if run.flops < 1e22 or run is largest]
    kept = [run for run in models if not run.best_size or run.flops < below or run is largest]
    test = back_test(kept, chance=0.0)
    low, high = test.forecast.accuracy_interval
    foretold = f"{test.forecast.accuracy:.1%} [{low:.1%}, {high:.1%}]"
    figure(f"LAMBADA over {test.forecast.orders:.1f} orders: foretold {foretold}, measured {test.measured:.1%}")
    assert abs(test.error) < 0.05
    assert test.inside


def test_forecasts_without_ground_are_refused() -> None:
    runs = family(0)
    low = [DownstreamResult(run.flops, run.nll, 0.26, run.questions) for run in runs[:-7]]
    with pytest.raises(DataError, match="0 of 6 models are more than 10% above chance"):
        forecast(low, 1e25, chance=0.25, questions=100)
    with pytest.raises(DataError, match="target's compute or more"):
        forecast(runs, 1e21, chance=0.25, questions=100)
    with pytest.raises(DataError, match="does not fall with compute"):
        fit_line([1e18, 1e19, 1e20], [1.0, 1.1, 1.2])
    with pytest.raises(DataError, match="make no line"):
        fit_line([1e18, 1e18, 1e18], [1.0, 1.1, 1.2])


@given(st.floats(0.5, 0.99), st.floats(5, 60), st.floats(1.0, 1.5))
@settings(max_examples=25)
def test_a_sigmoid_is_found_again(top: float, steepness: float, middle: float) -> None:
    truth = Sigmoid(0.25, top, steepness, middle)
    nll = np.linspace(middle - 0.4, middle + 0.4, 15)
    found = fit_sigmoid(nll, truth.at(nll), np.full(15, 10_000), chance=0.25)
    assert found.at(nll) == pytest.approx(truth.at(nll), abs=0.01)


HEADER = "task,flops,nll,accuracy,questions,chance\n"


def test_a_table_of_results_tells_the_scores_to_expect(tmp_path: Path) -> None:
    file = tmp_path / "results.csv"
    rows = [
        f"{task},{run.flops},{run.nll},{accuracy},{run.questions},0.25,{int(run.best_size)}"
        for run in family(0)
        for task, accuracy in (("sums", run.accuracy), ("riddles", 0.25))
    ]
    text = HEADER.strip() + ",best_size\n" + "\n".join(rows) + "\n"
    file.write_text(text, encoding="utf-8")
    target = 10 * max(run.flops for run in family(0))
    told = list(score_lines(forecasts(file, target)))
    wanted = forecast(family(0), target, chance=0.25, questions=1000)
    assert told[0].startswith(f"sums: {wanted.accuracy:.1%} right [{wanted.accuracy_interval[0]:.1%}")
    assert "1.0 orders" in told[0]
    assert "riddles: no forecast, 0 of" in told[1]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("task,flops\nsums,1e18\n", "no column nll; the first line must name task"),
        (HEADER + "sums,1e18,0.5,0.4,100,0.25\nsums,1e18,half,0.4,100,0.25\n", r"csv:3: a number is missing or none"),
        (HEADER + "sums,1e18,0.5,40,100,0.25\n", r"csv:2: .* accuracy and chance within 0 and 1"),
        (HEADER + "sums,1e18,0.5,0.4,100,0.25\nsums,1e19,0.5,0.4,100,0.5\n", r"csv:3: chance of sums is 0.5 here and"),
        (HEADER, "holds no results"),
    ],
)
def test_a_table_that_cannot_be_read(text: str, words: str, tmp_path: Path) -> None:
    file = tmp_path / "results.csv"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(DataError, match=words):
        list(score_lines(forecasts(file, 1e20)))


def test_both_steps_are_drawn_with_their_bands(tmp_path: Path) -> None:
    target = 10 * max(run.flops for run in family(0))
    found = forecast(family(0), target, chance=0.25, questions=1000)
    row = forecast_plot(family(0), found)
    for place, value, low, high in (*row["line"], *row["curve"]):
        assert low <= high
        assert place > 0
        assert low - 0.1 < value < high + 0.1
    assert row["line"][-1][0] == pytest.approx(target)
    assert row["line"][-1][1] == pytest.approx(found.nll)
    svg = two_steps({"sums": row})
    assert svg.startswith("<svg")
    assert "nats of the right answer a character" in svg
