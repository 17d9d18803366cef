"""Tables of runs, from runs made up for it."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pytest

from herd.core.errors import DataError
from herd.evals.intervals import Interval
from herd.mixing.comparing import (
    Trial,
    _shrink_slopes,
    _slope,
    compare_trials,
    forecast_losses,
    label_of,
    rank_agreement,
    search_costs,
    upsampling_gains,
)
from herd.mixing.proxies import EvalPoint, LossCurve
from herd.mixing.results import (
    CorpusComparison,
    CorpusRank,
    LossPoint,
    MixComparison,
    MixForecast,
    MixPrediction,
    MixSearch,
    MixTrial,
    UpsamplingCurve,
)
from herd.report.sections import Section, sections
from herd.report.sections.mixing import mixing_section
from tests.results import Made


def trial(label: str, seed: int, losses: list[float], flops: float = 1e10) -> Trial:
    """Losses of one source at 100, 200, ... tokens; the other's lie .5 above."""
    points = [EvalPoint(100 * (n + 1), {"a": loss, "b": loss + 0.5}) for n, loss in enumerate(losses)]
    return Trial(label, seed, flops, {"a": 0.5, "b": 0.5}, {"a": 1.0, "b": 2.0}, LossCurve(points))


def test_a_curve_tells_when_it_reaches_a_loss() -> None:
    curve = trial("x", 0, [3.0, 2.0, 1.0]).curve
    assert curve.tokens_to(2.25) == pytest.approx(200)
    assert curve.tokens_to(1.75) == pytest.approx(250)
    assert curve.tokens_to(9.0) == 100
    assert curve.tokens_to(1.0) is None
    assert curve.last.worst == 1.5


def test_methods_are_held_against_the_control_seed_by_seed() -> None:
    runs = [trial("control", seed, [9.0, 2.0 + seed]) for seed in range(3)]
    runs += [trial("better", seed, [8.0, 1.8 + seed]) for seed in range(3)]
    runs += [trial("luck", seed, [9.0, 2.0 + seed + (0.5, -0.6, 0.0)[seed]]) for seed in range(3)]
    rows = {row.method: row for row in compare_trials(runs, control="control")}
    assert tuple(rows["better"].gain) == pytest.approx((0.2, 0.2, 0.2))
    assert rows["better"].tokens is not None
    assert rows["better"].tokens < 1
    assert rows["luck"].gain.low < 0 < rows["luck"].gain.high
    assert rows["control"].tokens == pytest.approx(1)
    assert rows["control"].epochs == 2.0
    with pytest.raises(DataError, match="no run is called 'missing'"):
        compare_trials(runs, control="missing")
    with pytest.raises(DataError, match="was run with seed 7"):
        compare_trials([*runs, trial("better", 7, [1.0])], control="control")


def test_searches_tell_their_spread_over_seeds_and_proxies() -> None:
    def search(seed: int, weights: int, share: float) -> MixSearch:
        shares = {"a": share, "b": 1 - share}
        return MixSearch("doge", {"form": "code"}, seed, weights, shares, {}, False, False, 2.0, 3.0, 2.0, ())

    (row,) = search_costs([search(0, 10, 0.4), search(1, 10, 0.6), search(0, 20, 0.8), search(1, 20, 0.8)])
    assert row.method == "doge code"
    assert row.over_seeds == pytest.approx(np.std([0.4, 0.6], ddof=1))
    assert row.over_sizes == pytest.approx(np.std([0.5, 0.8], ddof=1))
    assert row.times_plain == 1.5
    assert label_of(replace(search(0, 10, 0.4), method="fixed_weights", settings={"label": "ours"})) == "ours"


@pytest.mark.row(22, "planted")
def test_mixes_with_laws_of_their_own_are_ranked_at_a_larger_size(figure) -> None:
    chance = np.random.default_rng(0)
    small, large = [], []
    for number in range(6):
        level, slope = 3.0 + 0.1 * number, -0.1 + 0.002 * chance.normal()
        law = lambda flops, level=level, slope=slope: level * (flops / 1e9) ** slope  # noqa: E731
        for seed in range(3):
            small += [trial(str(number), seed, [law(f) + 0.01 * chance.normal()], f) for f in (1e9, 3e9, 1e10)]
        # Seeds of the large runs lie about the law, and count by their mean.
        large += [trial(str(number), seed, [law(1e11) + off], 1e11) for seed, off in enumerate((-0.2, 0.2))]
    found = forecast_losses(small, large)
    figure(f"planted laws of 6 mixes: rank correlation {rank_agreement(found):.2f} one order beyond")
    assert rank_agreement(found) >= 0.8
    assert all(one.measured is not None and abs(one.loss - one.measured) < 0.1 for one in found)
    with pytest.raises(DataError, match="was run at 1 budgets"):
        forecast_losses([one for one in small if one.flops == 1e9], large)
    with pytest.raises(DataError, match="have no order"):
        rank_agreement(found[:2])


def test_slopes_are_drawn_together_by_as_much_as_they_are_noise() -> None:
    slopes = [-0.1, -0.2, -0.3]
    assert _shrink_slopes([(one, 0.0) for one in slopes]) == pytest.approx(slopes)
    assert _shrink_slopes([(one, 0.005) for one in slopes]) == pytest.approx([-0.15, -0.2, -0.25])
    assert _shrink_slopes([(one, 0.1) for one in slopes]) == pytest.approx([-0.2] * 3)
    assert _shrink_slopes([(-0.1, 0.1)]) == pytest.approx([-0.1])
    assert _slope(np.array([1.0, 2.0, 3.0]), np.array([5.0, 3.0, 1.0])) == pytest.approx((-2.0, 0.0))


def upsampling_trial(end: float, seed: int, losses: dict[str, float]) -> MixTrial:
    return MixTrial("fixed_weights", {}, seed, 10, 1.0, end, {}, {}, (), (LossPoint(1, losses),), 1.0)


@pytest.mark.row(27, "curve")
def test_upsampling_is_a_curve_over_five_parts_with_intervals(figure) -> None:
    ends = (0.0, 0.05, 0.1, 0.2, 0.3)
    rows = [
        upsampling_trial(end, seed, {"sums": 2 + 0.1 * seed - end + 2 * end**2, "web": 3 + 0.1 * seed + end})
        for end in ends
        for seed in range(3)
    ]
    curves = upsampling_gains(rows, ["sums"])
    assert [point[0] for point in curves["domains"]] == list(ends)
    best = max(curves["domains"], key=lambda point: point[1])
    figure(f"planted best part {best[0]:.0%}")
    assert best[0] == 0.2 or best[0] == 0.3
    assert curves["others"][-1][1:] == pytest.approx((-0.3, -0.3, -0.3))
    with pytest.raises(DataError, match="judged against runs without it"):
        upsampling_gains(rows[3:], ["sums"])
    with pytest.raises(DataError, match="typo are not among the sources"):
        upsampling_gains(rows, ["typo"])


def test_the_report_shows_what_was_mixed() -> None:
    runs = [trial(name, seed, [3.0, 2.0 - 0.1 * (name == "doremi")]) for seed in range(3) for name in ("c", "doremi")]
    table = MixComparison("c", tuple(compare_trials(runs, control="c")), ())
    forecast = MixForecast(1.0, 1.0, (MixPrediction("x", 1.0, (0.9, 1.1), 1.05),))
    upsampling = UpsamplingCurve(("sums",), {"domains": ((0, 0, 0, 0), (0.1, 0.2, 0.1, 0.3))})
    html = mixed(Made(table), Made(forecast), Made(upsampling))
    assert "Better outside its interval: doremi" in html
    assert re.findall(r'<td class="n (\w*)">', html) == ["", "good"]
    assert re.findall("<h3>(.*?)</h3>", html) == ["Mixes predicted from small runs", "Upsampling at the end"]
    assert sections.show([Made()]) == []  # type: ignore[list-item]


def mixed(*made: Made) -> str:
    section = mixing_section(made)  # type: ignore[arg-type]
    assert isinstance(section, Section)
    return str(section.html)


def test_the_report_shows_corpora_compared() -> None:
    means = {"model": Interval(1.0, 0.5, 1.5), "random": Interval(2.0, 0.5, 1.5)}
    rows = tuple(
        CorpusRank(label, 2, 10, (), mean, mean, mean, mean, 2 - n, {}, {}, agreement=0.5 + n / 10)
        for n, (label, mean) in enumerate(means.items())
    )
    html = mixed(Made(CorpusComparison("random", rows, 0.4, 0.3)))
    assert "no relation that chance would not give" in html
    table = html[html.index("<table>") :]
    first, second = (re.findall("<td.*?>(.*?)</td>", row) for row in table.split("<tr>")[2:4])
    assert [first[0], second[0], second[2]] == ["model", "random", "the control"]
    assert len(re.findall("<th", table)) == len(first) == len(second)
    assert "AUROC" in html


def test_mixes_are_foretold_where_none_was_run() -> None:
    small = [
        replace(trial(label, seed, [level - 0.1 * place + 0.001 * seed]), flops=flops)
        for label, level in (("x", 3.0), ("y", 3.2))
        for seed in range(2)
        for place, flops in enumerate((1e9, 1e10, 1e11))
    ]
    found = forecast_losses(small, [], target_flops=1e12)
    assert [(row.label, row.measured) for row in found] == [("x", None), ("y", None)]
    large = [replace(run, flops=1e12) for run in small if run.flops == 1e11]
    beside = forecast_losses(small, large)
    assert [row.loss for row in found] == pytest.approx([row.loss for row in beside])
    with pytest.raises(DataError, match="give target_flops, or runs of that size"):
        forecast_losses(small, [])
    with pytest.raises(DataError, match="0 mixes have no order"):
        rank_agreement(found)
    assert "where none was run" in mixed(Made(MixForecast(None, 1.0, tuple(found))))
