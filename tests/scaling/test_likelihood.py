"""How the NLL falls with compute: planted lines and laws are found again, and what does not fall is refused."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from herd.core.errors import DataError
from herd.scaling.likelihood import LinearTrend, PowerLawTrend, fit_line, fit_power_law, fit_trend


def test_a_trend_is_a_line_or_a_law_with_a_floor_as_the_runs_show() -> None:
    flops = np.geomspace(1e18, 1e22, 8)
    noise = np.random.default_rng(0).normal(0, 1e-3, 8)
    assert isinstance(fit_trend(flops, 5 - 0.2 * np.log10(flops) + noise), LinearTrend)
    law = fit_trend(flops, 0.5 + 2.0 * (flops / 1e20) ** -0.2 + noise)
    assert isinstance(law, PowerLawTrend)
    assert (law.floor, law.scale, law.exponent) == pytest.approx((0.5, 2.0, 0.2), abs=0.05)
    assert isinstance(fit_trend(flops[:4], 0.5 + 2.0 * (flops[:4] / 1e20) ** -0.2), LinearTrend)


@given(st.floats(-2, 8), st.floats(-1, -0.01))
def test_a_line_is_found_again_and_a_factor_of_ten_costs_its_slope(level: float, slope: float) -> None:
    line = LinearTrend(level, slope)
    flops = np.geomspace(1e18, 1e22, 4)
    found = fit_line(flops, [line.at(one) for one in flops])
    assert (found.level, found.slope) == pytest.approx((level, slope), abs=1e-6)
    assert found.at(1e25) - found.at(1e24) == pytest.approx(slope, abs=1e-6)


@settings(max_examples=15)
@given(st.floats(0.0, 1.0), st.floats(0.5, 3.0), st.floats(0.1, 0.5))
def test_a_law_is_found_again_without_noise(floor: float, scale: float, exponent: float) -> None:
    law = PowerLawTrend(floor, scale, exponent)
    flops = np.geomspace(1e18, 1e22, 9)
    found = fit_power_law(flops, [law.at(one) for one in flops])
    assert [found.at(one) for one in flops] == pytest.approx([law.at(one) for one in flops], abs=1e-4)
    assert found.floor <= law.at(1e22)


def test_a_trend_is_fitted_anew_in_its_own_form() -> None:
    flops = np.geomspace(1e18, 1e22, 8)
    curved = np.array([PowerLawTrend(0.5, 2.0, 0.2).at(one) for one in flops])
    assert isinstance(LinearTrend(5.0, -0.2).refit(flops, curved), LinearTrend)
    again = PowerLawTrend(0.4, 1.0, 0.3).refit(flops, curved)
    assert (again.floor, again.scale, again.exponent) == pytest.approx((0.5, 2.0, 0.2), abs=1e-2)
    with pytest.raises(DataError, match="does not fall with compute"):
        LinearTrend(5.0, -0.2).refit(flops, curved[::-1])
    with pytest.raises(DataError, match="2 runs at 2 budgets make no line"):
        fit_trend([1e18, 1e19], [2.0, 1.0])
