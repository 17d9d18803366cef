"""Rows 22, 23 and 27 on real pages: the studies' own runs, some minutes each."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from herd.core.recipe import load_recipe
from herd.serve.folders import artifacts_in
from herd.studies import studies


def studied(name: str, folder: Path) -> dict[str, Any]:
    """All results of the run as their cards hold them, by type; of several of one type the last."""
    command = [sys.executable, "-m", "herd", "study", name, "--out", str(folder)]
    subprocess.run(command, check=True, capture_output=True)
    return {name: row for one in artifacts_in(folder) for name, row in one.metadata["results"].items()}


def seeds_of(name: str) -> list[int]:
    """The seeds that a packaged study runs over; of one without a list, its only one."""
    return list(getattr(load_recipe(name, studies).settings, "seeds", (0,)))


@pytest.fixture(scope="module")
def mixes(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return studied("mixes", tmp_path_factory.mktemp("mixes"))


@pytest.mark.slow
@pytest.mark.row(22, "forecast")
def test_six_mixes_are_ranked_at_a_larger_size(mixes: dict[str, Any], figure: Callable[..., None]) -> None:
    found = mixes["MixForecast"]
    figure(
        f"{len(found['rows'])} mixes foretold {found['orders']:.1f} orders ahead: rank correlation "
        f"{found['rank_correlation']:.2f}",
        seeds=seeds_of("mixes"),
    )
    assert len(found["rows"]) >= 5
    assert found["rank_correlation"] >= 0.8


@pytest.mark.slow
@pytest.mark.row(23, "tokens")
def test_doremis_mix_gets_to_the_controls_loss_in_no_more_tokens(
    mixes: dict[str, Any], figure: Callable[..., None]
) -> None:
    rows = {row["method"]: row for row in mixes["MixComparison"]["rows"]}
    row = rows["doremi"]
    words = f"{row['tokens']} of the tokens, in {row['got_there']} of {row['seeds']} seeds; gain {row['gain'][0]:+.3f}"
    figure(words, seeds=seeds_of("mixes"))
    assert row["tokens"] is not None
    assert row["tokens"] <= 1.0


@pytest.mark.slow
@pytest.mark.row(27, "study")
def test_upsampling_is_a_curve_with_intervals(tmp_path: Path, figure: Callable[..., None]) -> None:
    curves = studied("upsampling", tmp_path)["UpsamplingCurve"]["curves"]
    points = curves["domains"]
    assert [point[0] for point in points] == [0.0, 0.05, 0.1, 0.2, 0.3]
    assert all(low <= value <= high for _, value, low, high in points)
    best = max(points, key=lambda point: point[1])
    where = "inside" if 0 < best[0] < points[-1][0] else "at the end of the parts tried"
    words = f"best part {best[0]:.0%}, {where}: {best[1]:+.3f} nats [{best[2]:+.3f}, {best[3]:+.3f}]"
    figure(words, seeds=seeds_of("upsampling"))
    assert best[2] > 0
