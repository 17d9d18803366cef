"""What steps of alignment gained, told from what was measured."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from herd.align.comparing import StepLabels, compare_sets, compare_steps
from herd.align.results import (
    AlignmentComparison,
    DialogueCount,
    DialogueSetComparison,
    HeldOutPairs,
    LogProbChange,
    PreferenceLearning,
    RejectionSampling,
    RewardModelResult,
)
from herd.core.recipe import load_recipe
from herd.core.stage import Work, walk
from herd.evals.results import EvaluationResult, TaskResult
from herd.report.sections.alignment import alignment_section
from herd.run.executors import LocalExecutor
from herd.studies import studies
from tests.results import Made


def task(share: float) -> TaskResult:
    return TaskResult(share, 0.0, 1.0, questions=10, void=0, right=(), truncated_share=0.1, tokens=9.0)


def scores(label: str, share: float) -> Any:
    return Made(EvaluationResult(label, True, {"sums": task(share)}))


def learnt(chosen: float, rejected: float, endings: tuple[float, float]) -> Any:
    return Made(PreferenceLearning(LogProbChange(chosen, rejected), LogProbChange(*endings)))


def judge(right: int, pairs: int) -> Any:
    return Made(RewardModelResult(HeldOutPairs(right, pairs, 0.0, 1.0), 0.0, ()))


def shown(result: Any) -> str:
    section = alignment_section([Made(result)])  # type: ignore[list-item]
    assert section is not None
    return str(section.html)


def titles(result: Any) -> list[str]:
    return re.findall("<h3>(.*?)</h3>", shown(result))


def test_gains_are_paired_by_seed(tmp_path: Path) -> None:
    shares = {"SFT": (0.4, 0.5), "RS": (0.5, 0.6), "dpo": (0.6, 0.6), "dpop": (0.7, 0.9)}
    measured = [scores("base", 0.2)] + [
        scores(f"{name} {seed}", each[seed]) for name, each in shares.items() for seed in (0, 1)
    ]
    moved = [learnt(chosen, -1.0, (0.0, -0.5)) for chosen in (-0.2, -0.4, 0.1, 0.3)]
    judges = [judge(right, 10) for right in (8, 9, 9, 10, 7, 7)]
    low = (0.5, 0.7, 0.6, 0.8)
    rows = [({"k": 1, "reward": 0.0, "gold": gold}, {"k": 4, "reward": 1.0, "gold": 0.9}) for gold in low]
    best = [Made(RejectionSampling(1, 1, 0.0, 0.0, row, 0)) for row in rows]
    labels = {name: (f"{name} 0", f"{name} 1") for name in shares}
    steps = StepLabels(
        base="base",
        steps={name: labels[name] for name in ("SFT", "RS", "dpo")},
        methods={name: labels[name] for name in ("dpo", "dpop")},
        judges=("plain", "critic", "other"),
        task="sums",
    )
    work = Work(tmp_path, tmp_path, LocalExecutor())
    given: Any = (tuple(measured), tuple(judges), tuple(best), tuple(moved))
    compare_steps.body(work, *given, steps=steps)
    found = work.results[AlignmentComparison]
    assert [row.gain.value for row in found.rows] == pytest.approx([0.25, 0.1, 0.05])
    assert [row.chosen.value for row in found.methods] == pytest.approx([-0.3, 0.2])
    assert [row.gain.value for row in found.methods] == pytest.approx([0.05, 0.25])
    assert [row.eos.rejected.value for row in found.methods] == pytest.approx([-0.5, -0.5])
    assert [row.truncated_share for row in found.methods] == pytest.approx([0.1, 0.1])
    assert [row.right.value for row in found.judges] == pytest.approx([0.85, 0.95, 0.7])
    assert [row.gain.value for row in found.judges] == pytest.approx([0.0, 0.1, -0.15])
    assert [[at.values["gold"].value for at in row.best_of] for row in found.judges] == [
        pytest.approx([0.6, 0.9]),
        pytest.approx([0.7, 0.9]),
        [],  # it chose nothing
    ]
    ways = ["Ways to learn from the same preferences", "What they do to endings"]
    assert titles(found) == ["Steps, by sums", *ways, "Judges", "The best of K answers"]


def test_sets_are_held_against_the_first_by_seed(tmp_path: Path) -> None:
    right = {"all": ((0.2, 0.4), (0.4, 0.6)), "fewer": ((0.3, 0.5), (0.5, 0.9))}
    measured: Any = tuple(
        Made(EvaluationResult("", True, {"sums": task(sums), "facts": task(facts)}))
        for each in right.values()
        for sums, facts in each
    )
    sets: Any = (Made(DialogueCount(100, {})), Made(DialogueCount(40, {})))
    work = Work(tmp_path, tmp_path, LocalExecutor())
    compare_sets.body(work, measured, sets, labels=tuple(right), tasks=("sums", "facts"))
    found = work.results[DialogueSetComparison]
    assert found.seeds == 2
    assert [row.dialogues for row in found.rows] == [100, 40]
    assert [row.right["mean"].value for row in found.rows] == pytest.approx([0.4, 0.55])
    assert found.rows[1].gain["sums"].value == pytest.approx(0.1)
    assert found.rows[1].gain["mean"].value == pytest.approx(0.15)
    html = shown(found)
    assert "<svg" in html
    assert re.findall("<th.*?>(.*?)</th>", html) == ["set", "dialogues", "sums", "facts", "mean", "gain"]
    assert [row.count("<td") for row in html.split("<tr>")[2:4]] == [6, 6]


def test_steps_are_compared_where_nothing_judged(tmp_path: Path) -> None:
    measured: Any = (scores("base", 0.2), scores("SFT 0", 0.4), scores("dpo 0", 0.5), scores("cpo 0", 0.7))
    tried = {"dpo": ("dpo 0",), "cpo": ("cpo 0",)}
    steps = StepLabels(base="base", steps={"SFT": ("SFT 0",), "cpo": ("cpo 0",)}, methods=tried, judges=(), task="sums")
    moved: Any = (learnt(0.0, 0.0, (0.0, 0.0)),) * 2
    work = Work(tmp_path, tmp_path, LocalExecutor())
    compare_steps.body(work, measured, (), (), moved, steps=steps)
    found = work.results[AlignmentComparison]
    assert [row.gain.value for row in found.methods] == pytest.approx([0.1, 0.3])
    assert [row.over_first.value for row in found.methods] == pytest.approx([0.0, 0.2])
    ways = ["Ways to learn from the same preferences", "What they do to endings"]
    assert titles(found) == ["Steps, by sums", *ways]


def test_every_way_learns_from_the_same_preferences() -> None:
    plans = list(walk(load_recipe("alignment", studies).plan()))
    by_seed: dict[int, set[str]] = {}
    for plan in plans:
        if plan.stage.name == "dpo":
            given = plan.inputs["preferences"]
            assert isinstance(given, tuple)
            by_seed.setdefault(plan.settings["settings"]["seed"], set()).update(one.key for one in given)
    assert sorted(by_seed) == [0, 1, 2]
    assert all(len(keys) == 2 for keys in by_seed.values())
    assert sum(plan.stage.name == "train_reward" for plan in plans) == 15
