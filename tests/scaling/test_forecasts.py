"""What small runs foretell: parametric laws, task scores, thresholds, and which metric to follow."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from herd.core.errors import ArtifactError, DataError
from herd.model.sizes import size
from herd.report.plots import two_steps
from herd.scaling.cost import Job, expected_loss, loss_line
from herd.scaling.downstream import (
    Run,
    Sigmoid,
    back_test,
    fit_sigmoid,
    forecast,
    forecasts,
    read_results,
    score_lines,
    steps_drawn,
)
from herd.scaling.emergence import METRICS, metrics, rank_with_compute, threshold
from herd.scaling.laws import Chinchilla
from herd.scaling.likelihood import Line, PowerLaw, fit_line, fit_trend
from herd.scaling.parametric import fit_parametric, read_law, to_row


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
    low, high = noisy.loss_interval(law.best_weights(far), law.best_tokens(far))
    assert low * 0.98 < law.loss(law.best_weights(far), law.best_tokens(far)) < high * 1.02
    assert noisy.interval("alpha")[0] < noisy.law.alpha < noisy.interval("alpha")[1]


def test_runs_that_fix_no_law_are_told() -> None:
    weights, tokens, losses = planted(Chinchilla(), 0.0, 0)
    with pytest.raises(DataError, match="6 runs do not fix"):
        fit_parametric(weights[:6], tokens[:6], losses[:6])
    with pytest.raises(DataError, match="run 3 has no finite, positive loss"):
        fit_parametric(weights, tokens, np.where(np.arange(len(losses)) == 2, np.nan, losses))
    with pytest.raises(DataError, match="same weights"):
        fit_parametric(np.full_like(weights, 1e9), tokens, losses)


# ---- from compute to scores ----

CURVE = Sigmoid(chance=0.25, top=0.97, steepness=22.0, middle=1.34)


def family(seed: int, questions: int = 1000) -> list[Run]:
    """Models of the best size at seven budgets, and an older family that tells more of the curve: nats a character
    fall in a straight line, accuracy by a sigmoid, both with noise."""
    chance = np.random.default_rng(seed)
    runs = []
    for flops in [*np.geomspace(1e20, 1e22, 6).tolist(), 3.8e25]:
        nll = 1.42 - 0.026 * (np.log10(flops) - 20) + chance.normal(0, 1e-3)
        runs.append(Run(flops, nll, chance.binomial(questions, CURVE.at(nll)) / questions, questions))
    for nll in (1.39, 1.36, 1.33, 1.31, 1.29, 1.27):
        runs.append(Run(1e23, nll, chance.binomial(questions, CURVE.at(nll)) / questions, questions, best_size=False))
    return runs


@pytest.mark.row(30, "planted")
def test_the_largest_model_is_foretold_from_the_others(figure) -> None:
    tests = [back_test(family(seed), chance=0.25, seed=seed) for seed in range(10)]
    off = sorted(abs(one.off) for one in tests)
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
    assert abs(test.off) < 0.05
    assert test.inside


def test_a_trend_is_a_line_or_a_law_with_a_floor_as_the_runs_show() -> None:
    flops = np.geomspace(1e18, 1e22, 8)
    noise = np.random.default_rng(0).normal(0, 1e-3, 8)
    assert isinstance(fit_trend(flops, 5 - 0.2 * np.log10(flops) + noise), Line)
    law = fit_trend(flops, 0.5 + 2.0 * (flops / 1e20) ** -0.2 + noise)
    assert isinstance(law, PowerLaw)
    assert (law.floor, law.scale, law.exponent) == pytest.approx((0.5, 2.0, 0.2), abs=0.05)
    assert isinstance(fit_trend(flops[:4], 0.5 + 2.0 * (flops[:4] / 1e20) ** -0.2), Line)


def test_forecasts_without_ground_are_refused() -> None:
    runs = family(0)
    low = [Run(run.flops, run.nll, 0.26, run.questions) for run in runs[:-7]]
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


# ---- thresholds ----


@pytest.mark.row(31)
def test_a_planted_threshold_is_found_and_none_where_there_is_none(figure) -> None:
    off, found, false = [], 0, 0
    for seed in range(20):
        chance = np.random.default_rng(seed)
        losses = np.sort(chance.uniform(1.6, 2.9, 40))
        planted_at = chance.uniform(2.0, 2.4)
        noise = chance.normal(0, 0.01, 40)
        one = threshold(losses, 0.25 + 0.5 * np.maximum(0, planted_at - losses) + noise, chance=0.25, seed=seed)
        off.append(abs(one.loss - planted_at))
        found += one.preferred
        assert one.low <= one.high
        smooth = threshold(losses, 0.25 + 0.3 * (2.9 - losses) + noise, chance=0.25, seed=seed, resamples=10)
        false += smooth.preferred
    figure(f"off by {max(off):.3f} nats at most in 20; preferred {found} of 20 times when planted, {false} when not")
    assert max(off) < 0.05
    assert found == 20
    assert false == 0
    with pytest.raises(DataError, match="7 models"):
        threshold(range(7), range(7), chance=0.0)


# ---- metrics ----


@pytest.mark.row(32)
def test_each_step_from_log_likelihood_to_accuracy_says_less_of_compute(figure) -> None:
    chance = np.random.default_rng(0)
    flops = np.geomspace(1e18, 1e22, 10)
    questions, choices = 300, 4
    right = chance.integers(0, choices, questions)
    # With compute all choices become likelier, the right one a little more, each question in its own way.
    grows = chance.normal(1.0, 0.3, (questions, choices))
    grows[np.arange(questions), right] += chance.normal(0.25, 0.4, questions)
    start = chance.normal(-12, 1.5, (questions, choices))
    found: dict[str, list[np.ndarray]] = {name: [] for name in METRICS}
    for step in np.log10(flops / flops[0]):
        log_p = start + grows * step + chance.normal(0, 0.35, (questions, choices))
        for name, values in metrics(log_p, right).items():
            found[name].append(values)
    ranks = rank_with_compute(flops, found)
    figure(", ".join(f"{name} {ranks[name]:.2f}" for name in METRICS))
    assert ranks["log_p"] > ranks["p_choices"] >= ranks["brier"] - 0.02
    assert ranks["brier"] > ranks["accuracy"]


def test_metrics_of_one_question() -> None:
    shares = np.array([[0.4, 0.2, 0.2, 0.2], [0.4, 0.6, 1e-9, 1e-9]])
    found = metrics(np.log(shares), [0, 0])
    assert found["accuracy"].tolist() == [1.0, 0.0]
    assert found["p_choices"] == pytest.approx([0.4, 0.4], abs=1e-6)
    assert found["brier"][0] == pytest.approx(-(0.36 + 3 * 0.04))
    uniform = metrics(np.zeros((1, 4)), [2])
    assert uniform["brier"][0] == pytest.approx(-0.75)
    with pytest.raises(DataError, match="2 models"):
        rank_with_compute([1, 2], {"a": [[1], [2]]})


def test_a_budget_tells_the_loss_to_expect_by_the_law_of_a_run(tmp_path: Path) -> None:
    truth = Chinchilla()
    chance = np.random.default_rng(0)
    weights, tokens = (np.exp(chance.uniform(np.log(low), np.log(high), 40)) for low, high in ((1e7, 1e9), (1e9, 1e11)))
    losses = [truth.loss(n, d) * (1 + 0.002 * chance.normal()) for n, d in zip(weights, tokens, strict=True)]
    file = tmp_path / "law.json"
    file.write_text(json.dumps({"parametric": to_row(fit_parametric(weights, tokens, losses))}))
    job = Job(size("8b").shape(vocabulary=128_256), 1e12, 8192, 2**22)
    found = expected_loss(job, tmp_path)
    low, high = found["interval"]
    wanted = truth.loss(job.shape.weights, 1e12)
    assert low <= found["loss"] <= high
    assert found["loss"] == pytest.approx(wanted, abs=0.05)
    assert loss_line(found).startswith(f"loss      {found['loss']:.3f} nats a token [")
    assert read_law(file).law.loss(1e9, 1e11) == pytest.approx(truth.loss(1e9, 1e11), rel=0.01)
    file.write_text(json.dumps({"parametric": {"none": "4 runs do not fix a law"}}))
    with pytest.raises(ArtifactError, match="has no parametric law: 4 runs do not fix a law"):
        read_law(file)
    with pytest.raises(ArtifactError, match=r"holds no law.json; name a run with a ladder"):
        read_law(tmp_path / "nothing")


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
    row = steps_drawn(family(0), found)
    for place, value, low, high in (*row["line"], *row["curve"]):
        assert low <= high
        assert place > 0
        assert low - 0.1 < value < high + 0.1
    assert row["line"][-1][0] == pytest.approx(target)
    assert row["line"][-1][1] == pytest.approx(found.nll)
    svg = two_steps({"sums": row})
    assert svg.startswith("<svg")
    assert "nats of the right answer a character" in svg
