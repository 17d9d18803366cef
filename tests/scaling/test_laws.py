"""Scaling laws: published constants, and a planted law that is found again."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from herd.core.errors import DataError, SettingsError
from herd.model.sizes import Size
from herd.scaling.budget import LadderSettings, by_budget, ladder_runs
from herd.scaling.laws import LLAMA_3, Chinchilla, parabola, power_law
from herd.train.cost import days


@pytest.mark.row(28)
def test_a_planted_law_is_found_again(figure) -> None:
    law = Chinchilla()
    budgets = np.geomspace(6e18, 1e22, 8)
    chance = np.random.default_rng(0)
    best = []
    for budget in budgets:
        tokens = law.best_tokens(budget) * np.geomspace(0.3, 3, 9)
        losses = [law.loss(budget / (6 * d), d) + chance.normal(0, 2e-4) for d in tokens]
        curve = parabola(tokens, losses)
        assert curve.is_inside
        assert curve.fit > 0.98
        best.append(curve.tokens)
    found = power_law(budgets, best)
    exponent = law.alpha / (law.alpha + law.beta)
    far = 100 * budgets[-1]
    miss = abs(found.tokens(far) / law.best_tokens(far) - 1)
    figure(f"exponent {found.exponent:.4f} for {exponent:.4f}, tokens at 100 times the compute off by {miss:.1%}")
    assert abs(found.exponent - exponent) < 0.02
    assert miss < 0.1


@pytest.mark.row(29, "constants")
@pytest.mark.parametrize(
    ("flops", "weights", "tokens", "loss"),
    [
        (1e18, 8.058e7, 2.068e9, 3.5353),
        (1e20, 6.449e8, 2.585e10, 2.5998),
        (1e22, 5.160e9, 3.230e11, 2.1386),
        (3.8e25, 2.135e11, 2.967e13, 1.8165),
    ],
)
def test_chinchillas_optimum(flops: float, weights: float, tokens: float, loss: float, figure) -> None:
    law = Chinchilla()
    assert law.ratio == pytest.approx(1.344711, abs=1e-6)
    assert law.best_num_params(flops) == pytest.approx(weights, rel=5e-4)
    assert law.best_tokens(flops) == pytest.approx(tokens, rel=5e-4)
    found = law.loss(law.best_num_params(flops), law.best_tokens(flops))
    figure(f"{flops:.1e}: {found:.4f}")
    assert found == pytest.approx(loss, abs=1e-4)


def test_llamas_figure_and_not_its_rounded_text_gives_its_tokens() -> None:
    assert LLAMA_3.tokens(3.8e25) == pytest.approx(16.29e12, rel=0.002)
    assert abs(LLAMA_3.tokens(3.8e25) / 16.55e12 - 1) < 0.05
    assert LLAMA_3.num_params(3.8e25) == pytest.approx(389e9, rel=0.003)


@pytest.mark.row(7, "notes")
def test_training_time(figure) -> None:
    found = days(3.8e25, devices=16_384, flops_per_second=400e12)
    slow = days(3.8e25, devices=16_384, flops_per_second=60e12)
    figure(f"{found:.1f} days at 400 TFLOP/s, {slow:.0f} at 60, where the notes say 120")
    assert found == pytest.approx(67.1, abs=0.1)
    assert slow == pytest.approx(447, abs=1)


@given(st.floats(-3, 3), st.floats(0.01, 2), st.floats(0.5, 4))
def test_a_parabola_is_fitted_exactly(middle: float, bend: float, level: float) -> None:
    tokens = np.exp(np.linspace(middle - 2, middle + 2, 6))
    curve = parabola(tokens, bend * (np.log(tokens) - middle) ** 2 + level)
    assert curve.tokens == pytest.approx(np.exp(middle), rel=1e-6)
    assert curve.loss == pytest.approx(level, rel=1e-6)
    assert curve.is_inside


def test_curves_without_a_minimum_say_so_and_too_few_points_are_refused() -> None:
    x = np.exp([1, 2, 3, 4])
    assert "more tokens; add smaller models" in parabola(x, [9, 5, 2, 0]).advice
    assert "fewer tokens; add larger models" in parabola(x, [0, 2, 5, 9]).advice
    assert "does not bend upwards" in parabola([1, 2, 3, 4], [-1, -4, -9, -16]).advice
    assert parabola(x, [1, 0, 0, 1]).advice == ""
    with pytest.raises(DataError, match="3 points"):
        parabola([1, 2, 3], [1, 2, 3])
    with pytest.raises(DataError, match="1 budgets"):
        power_law([1e18], [1e9])


def test_rungs_spend_their_budget_and_refuse_one_too_small() -> None:
    sizes = tuple(Size(dim=w, n_layers=1, n_heads=2, n_kv_heads=1, ffn_dim=2 * w) for w in (8, 12, 16, 20))
    ladder = LadderSettings(
        budgets=(1e9, 2e9), sizes=sizes, length=32, batch_tokens=64, lr=1e-3, mixture_weights={"a": 1.0}
    )
    found = ladder_runs(ladder, vocabulary=100)
    for rung in found:
        flops = rung.tokens * rung.size.shape(vocab_size=100, max_seq_len=32).training_flops(32)
        assert flops == pytest.approx(rung.budget, rel=0.01)
    assert by_budget(ladder.budgets, [rung.budget for rung in found]) == [[1e9] * 4, [2e9] * 4]
    with pytest.raises(SettingsError, match="fewer than ten batches"):
        ladder_runs(
            LadderSettings(
                budgets=(1e6,), sizes=sizes, length=32, batch_tokens=64, lr=1e-3, mixture_weights={"a": 1.0}
            ),
            vocabulary=100,
        )
