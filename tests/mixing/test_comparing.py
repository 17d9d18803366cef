"""Tables of runs, from runs made up for it."""

from __future__ import annotations

import numpy as np
import pytest

from herd.core.errors import DataError
from herd.mixing.comparing import (
    Trial,
    _drawn_together,
    _slope,
    compared,
    foretell,
    label_of,
    mixes_row,
    rank_agreement,
    upsampled,
)
from herd.mixing.proxies import Curve, Point
from herd.report.mixes import mixing


def trial(label: str, seed: int, losses: list[float], flops: float = 1e10) -> Trial:
    """Losses of one source at 100, 200, ... tokens; the other's lie .5 above."""
    points = [Point(100 * (n + 1), {"a": loss, "b": loss + 0.5}) for n, loss in enumerate(losses)]
    return Trial(label, seed, flops, {"a": 0.5, "b": 0.5}, {"a": 1.0, "b": 2.0}, Curve(points))


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
    rows = {row["method"]: row for row in compared(runs, control="control")}
    assert rows["better"]["gain"] == pytest.approx([0.2, 0.2, 0.2])
    assert rows["better"]["tokens"] < 1
    assert rows["luck"]["gain"][1] < 0 < rows["luck"]["gain"][2]
    assert rows["control"]["tokens"] == pytest.approx(1)
    assert rows["control"]["epochs"] == 2.0
    with pytest.raises(DataError, match="no run is called 'missing'"):
        compared(runs, control="missing")
    with pytest.raises(DataError, match="was run with seed 7"):
        compared([*runs, trial("better", 7, [1.0])], control="control")


def test_searches_tell_their_spread_over_seeds_and_proxies() -> None:
    def search(seed: int, weights: int, share: float) -> dict:
        return {
            "method": "doge", "settings": {"form": "code"}, "seed": seed, "proxy_weights": weights, "flops": 2.0,
            "shares": {"a": share, "b": 1 - share}, "seconds": 3.0, "plain_seconds": 2.0,
        }  # fmt: skip

    (row,) = mixes_row([search(0, 10, 0.4), search(1, 10, 0.6), search(0, 20, 0.8), search(1, 20, 0.8)])
    assert row["method"] == "doge code"
    assert row["over_seeds"] == pytest.approx(np.std([0.4, 0.6], ddof=1))
    assert row["over_sizes"] == pytest.approx(np.std([0.5, 0.8], ddof=1))
    assert row["times_plain"] == 1.5
    assert label_of({"method": "given_shares", "settings": {"label": "ours"}}) == "ours"


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
    found = foretell(small, large)
    figure(f"planted laws of 6 mixes: rank correlation {rank_agreement(found):.2f} one order beyond")
    assert rank_agreement(found) >= 0.8
    assert all(abs(one.loss - one.measured) < 0.1 for one in found)
    with pytest.raises(DataError, match="was run at 1 budgets"):
        foretell([one for one in small if one.flops == 1e9], large)
    with pytest.raises(DataError, match="have no order"):
        rank_agreement(found[:2])


def test_slopes_are_drawn_together_by_as_much_as_they_are_noise() -> None:
    slopes = [-0.1, -0.2, -0.3]
    assert _drawn_together([(one, 0.0) for one in slopes]) == pytest.approx(slopes)
    assert _drawn_together([(one, 0.005) for one in slopes]) == pytest.approx([-0.15, -0.2, -0.25])
    assert _drawn_together([(one, 0.1) for one in slopes]) == pytest.approx([-0.2] * 3)
    assert _drawn_together([(-0.1, 0.1)]) == pytest.approx([-0.1])
    assert _slope(np.array([1.0, 2.0, 3.0]), np.array([5.0, 3.0, 1.0])) == pytest.approx((-2.0, 0.0))


@pytest.mark.row(27, "curve")
def test_upsampling_is_a_curve_over_five_parts_with_intervals(figure) -> None:
    ends = (0.0, 0.05, 0.1, 0.2, 0.3)
    rows = [
        {
            "late_share": end,
            "seed": seed,
            "points": [{"losses": {"sums": 2 + 0.1 * seed - end + 2 * end**2, "web": 3 + 0.1 * seed + end}}],
        }
        for end in ends
        for seed in range(3)
    ]
    curves = upsampled(rows, ["sums"])
    assert [point[0] for point in curves["domains"]] == list(ends)
    best = max(curves["domains"], key=lambda point: point[1])
    figure(f"planted best part {best[0]:.0%}")
    assert best[0] == 0.2 or best[0] == 0.3
    assert curves["others"][-1][1:] == pytest.approx((-0.3, -0.3, -0.3))
    with pytest.raises(DataError, match="judged against runs without it"):
        upsampled(rows[3:], ["sums"])
    with pytest.raises(DataError, match="typo are not among the sources"):
        upsampled(rows, ["typo"])


def test_the_report_shows_what_was_mixed() -> None:
    class Made:
        def __init__(self, figures: dict) -> None:
            self.figures = figures

    runs = [trial(name, seed, [3.0, 2.0 - 0.1 * (name == "doremi")]) for seed in range(3) for name in ("c", "doremi")]
    table = {"control": "c", "rows": compared(runs, control="c"), "searches": []}
    foretold = {"rank_correlation": 1.0, "orders": 1.0, "rows": [
        {"label": "x", "loss": 1.0, "interval": [0.9, 1.1], "measured": 1.05}]}  # fmt: skip
    upsampling = {"domains": ["sums"], "curves": {"domains": [[0, 0, 0, 0], [0.1, 0.2, 0.1, 0.3]]}}
    page = mixing([Made({"mixing": table}), Made({"mixes_foretold": foretold}), Made({"upsampling": upsampling})])  # type: ignore[list-item]
    assert page is not None
    assert "Better outside its interval: doremi" in page["words"]
    assert [row["verdict"] for row in page["rows"]] == ["", "good"]
    assert [part["title"] for part in page["parts"]] == ["Mixes foretold from small runs", "Upsampling at the end"]
    assert mixing([Made({})]) is None  # type: ignore[list-item]


def test_the_report_shows_corpora_compared() -> None:
    rows = [
        {"label": label, "seeds": 2, "tokens": 10, "repeated": [], "best": 2 - n, "agreement": 0.5 + n / 10}
        | {key: [1.0 + n, 0.5, 1.5] for key in ("answers", "losses", "gain", "gain_in_text")}
        for n, label in enumerate(("model", "random"))
    ]
    figures = {"curation": {"control": "random", "rows": rows, "rank_correlation": 0.4, "by_chance": 0.3}}
    made = type("Made", (), {"figures": figures})
    page = mixing([made])  # type: ignore[list-item]
    assert page is not None
    (part,) = page["parts"]
    assert "no relation that chance would not give" in part["words"]
    assert [row[0] for row in part["rows"]] == ["model", "random"]
    assert part["rows"][1][2] == "the control"
    assert len(part["head"]) == len(part["rows"][0])
    assert "AUROC" in str(part["drawing"])
