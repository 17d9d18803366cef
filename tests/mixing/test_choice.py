"""The mix that a run is given is the one predicted to be best, and says which others may be as good."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from herd.core.artifacts import ArtifactMetadata, Mix, Scores, write_metadata
from herd.core.errors import DataError
from herd.core.results import results
from herd.mixing.choice import choose_mix
from herd.mixing.results import MixChoice, MixForecast, MixPrediction, MixSearch
from tests.imported import work

MIXES = {"equal": {"a": 0.5, "b": 0.5}, "mostly a": {"a": 0.9, "b": 0.1}, "mostly b": {"a": 0.1, "b": 0.9}}


def mix(folder: Path, label: str) -> Mix:
    folder.mkdir(parents=True)
    shares = MIXES[label]
    search = MixSearch("fixed_weights", {"label": label}, 0, 1000, shares, {}, False, False, 0.0, 0.0, 0.0, ())
    rows = results.to_rows([search])
    write_metadata(folder, ArtifactMetadata("Mix", folder.name, "find_mix", 2, "3.1.2", "-", {}, {}, rows))
    return Mix(folder)


def forecast(folder: Path) -> Scores:
    folder.mkdir(parents=True)
    rows = (
        MixPrediction("equal", 3.1, (3.05, 3.2), None),
        MixPrediction("mostly a", 3.0, (2.95, 3.04), None),
        MixPrediction("mostly b", 3.02, (2.99, 3.1), None),
    )
    recorded = results.to_rows([MixForecast(None, 1.0, rows)])
    write_metadata(folder, ArtifactMetadata("Scores", folder.name, "forecast_mixes", 3, "3.1.2", "-", {}, {}, recorded))
    return Scores(folder)


def test_the_least_predicted_loss_is_taken_and_those_that_may_be_as_good_are_named(tmp_path: Path) -> None:
    here = work(tmp_path / "choice")
    mixes = tuple(mix(tmp_path / str(number), label) for number, label in enumerate(MIXES))
    made = choose_mix.body(here, forecast(tmp_path / "forecast"), mixes)
    found = json.loads((made.path / "mix.json").read_text(encoding="utf-8"))
    assert found["shares"] == MIXES["mostly a"]
    assert here.results[MixSearch].shares == MIXES["mostly a"]
    choice = here.results[MixChoice]
    assert (choice.label, choice.ties) == ("mostly a", ("mostly b",))
    assert [row.label for row in choice.rows] == ["mostly a", "mostly b", "equal"]
    assert here.headline == "mostly a: mean loss 3.000 [2.950, 3.040] predicted; mostly b may be as good"


def test_a_best_mix_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"'mostly a', is not among those given.*mostly b"):
        choose_mix.body(work(tmp_path / "choice"), forecast(tmp_path / "forecast"), (mix(tmp_path / "b", "mostly b"),))


def test_a_forecast_of_before_holds_what_was_measured() -> None:
    row = {"version": 1, "rank_correlation": 0.9, "orders": 0.8,
           "rows": [{"label": "x", "loss": 1.0, "interval": [0.9, 1.1], "measured": 1.05}]}  # fmt: skip
    assert results.from_row(MixForecast, row, "an older run").rows[0].measured == 1.05
