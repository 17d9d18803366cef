"""Row 20: with all else equal, a model learns most from what a classifier kept."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from herd.core.recipe import load_recipe
from herd.core.stage import walk
from herd.mixing.results import CorpusComparison, CorpusScore
from herd.serve.folders import artifacts_in
from herd.studies import studies


@pytest.mark.slow
@pytest.mark.row(20)
@pytest.mark.row(21)
def test_the_classifier_is_best_in_four_of_five_seeds(tmp_path: Path, figure: Callable[..., None]) -> None:
    command = [sys.executable, "-m", "herd", "study", "curation", "--out", str(tmp_path), "--until", "compare_corpora"]
    subprocess.run(command, check=True, capture_output=True)
    found = next(result for one in artifacts_in(tmp_path) if (result := one.get_result(CorpusComparison)))
    trials = [result for one in artifacts_in(tmp_path) if (result := one.get_result(CorpusScore))]
    nats: dict[int, dict[str, float]] = {}
    for one in trials:
        nats.setdefault(one.seed, {})[one.label] = sum(one.answers.values()) / len(one.answers)
    three = ("random", "heuristics", "classifier")
    best = sum(min(three, key=row.__getitem__) == "classifier" for row in nats.values())
    assert len(nats) == 5
    assert best >= 4
    assert len(found.rows) >= 5
    assert all(row.agreement is not None and 0 <= row.agreement <= 1 for row in found.rows)
    figure(
        f"classifier best of {', '.join(three)} in {best} of 5 seeds; over {len(found.rows)} curations rank "
        f"correlation {found.rank_correlation:+.2f} with labels, by chance {found.by_chance:.0%}",
        seeds=sorted(nats),
    )


def test_every_set_is_trained_alike() -> None:
    plans = walk(load_recipe("curation", studies).plan())
    trials = [plan.settings for plan in plans if plan.stage.name == "try_corpus"]
    assert len(trials) == 35
    assert len({json.dumps(one["trial"], sort_keys=True) for one in trials}) == 1
    labels = next(plan.settings["labels"] for plan in plans if plan.stage.name == "compare_corpora")
    assert {(one["label"], one["seed"]) for one in trials} == {(name, seed) for name in labels for seed in range(5)}
