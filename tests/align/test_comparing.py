"""What steps of alignment gained, told from what was measured."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from herd.align.comparing import Steps, compare_sets, compare_steps
from herd.core.recipe import load_recipe
from herd.core.stage import Work, walk
from herd.report.alignment import alignment
from herd.run.executors import LocalPlace
from herd.studies import studies


class Made:
    """An artifact of which only figures are asked."""

    def __init__(self, **figures: Any) -> None:
        self.figures = figures


def scores(label: str, share: float) -> Any:
    return Made(measured={"label": label, "tasks": {"sums": {"share": share, "run_on": 0.1, "tokens": 9.0}}})


def test_gains_are_paired_by_seed(tmp_path: Path) -> None:
    shares = {"SFT": (0.4, 0.5), "RS": (0.5, 0.6), "dpo": (0.6, 0.6), "dpop": (0.7, 0.9)}
    measured = [scores("base", 0.2)] + [
        scores(f"{name} {seed}", each[seed]) for name, each in shares.items() for seed in (0, 1)
    ]
    ends = {"chosen": 0.0, "rejected": -0.5}
    moved = [
        Made(log_prob_change={"chosen": chosen, "rejected": -1.0}, ending_change=ends)
        for chosen in (-0.2, -0.4, 0.1, 0.3)
    ]
    judges = [Made(held_out={"right": right, "pairs": 10}) for right in (8, 9, 9, 10, 7, 7)]
    best = [
        Made(best_of=[{"k": 1, "reward": 0.0, "gold": low}, {"k": 4, "reward": 1.0, "gold": 0.9}])
        for low in (0.5, 0.7, 0.6, 0.8)
    ]
    labels = {name: (f"{name} 0", f"{name} 1") for name in shares}
    steps = Steps(
        base="base",
        steps={name: labels[name] for name in ("SFT", "RS", "dpo")},
        ways={name: labels[name] for name in ("dpo", "dpop")},
        judges=("plain", "critic", "other"),
        task="sums",
    )
    work = Work(tmp_path, tmp_path, LocalPlace())
    given: Any = (tuple(measured), tuple(judges), tuple(best), tuple(moved))
    compare_steps.body(work, *given, steps=steps)
    found = work.figures["alignment"]
    assert [row["gain"][0] for row in found["rows"]] == pytest.approx([0.25, 0.1, 0.05])
    assert [row["chosen"][0] for row in found["ways"]] == pytest.approx([-0.3, 0.2])
    assert [row["gain"][0] for row in found["ways"]] == pytest.approx([0.05, 0.25])
    assert [row["endings"]["rejected"][0] for row in found["ways"]] == pytest.approx([-0.5, -0.5])
    assert [row["run_on"] for row in found["ways"]] == pytest.approx([0.1, 0.1])
    assert [row["right"][0] for row in found["judges"]] == pytest.approx([0.85, 0.95, 0.7])
    assert [row["gain"][0] for row in found["judges"]] == pytest.approx([0.0, 0.1, -0.15])
    assert [[at["gold"][0] for at in row["best_of"]] for row in found["judges"]] == [
        pytest.approx([0.6, 0.9]),
        pytest.approx([0.7, 0.9]),
        [],  # it chose nothing
    ]
    one: Any = Made(alignment=found)
    titles = [part["title"] for part in alignment([one])]
    ways = ["Ways to learn from the same preferences", "What they do to endings"]
    assert titles == ["Steps, by sums", *ways, "Judges", "The best of K answers"]


def test_sets_are_held_against_the_first_by_seed(tmp_path: Path) -> None:
    right = {"all": ((0.2, 0.4), (0.4, 0.6)), "fewer": ((0.3, 0.5), (0.5, 0.9))}
    measured: Any = tuple(
        Made(measured={"label": "", "tasks": {"sums": {"share": sums}, "facts": {"share": facts}}})
        for each in right.values()
        for sums, facts in each
    )
    sets: Any = (Made(dialogues=100), Made(dialogues=40))
    work = Work(tmp_path, tmp_path, LocalPlace())
    compare_sets.body(work, measured, sets, labels=tuple(right), tasks=("sums", "facts"))
    found = work.figures["sets"]
    assert found["seeds"] == 2
    assert [row["dialogues"] for row in found["rows"]] == [100, 40]
    assert [row["right"]["mean"][0] for row in found["rows"]] == pytest.approx([0.4, 0.55])
    assert found["rows"][1]["gain"]["sums"][0] == pytest.approx(0.1)
    assert found["rows"][1]["gain"]["mean"][0] == pytest.approx(0.15)
    part, picture = alignment([Made(sets=found)])  # type: ignore[list-item]
    assert "<svg" in str(picture["drawing"])
    assert part["head"] == ("set", "dialogues", "sums", "facts", "mean", "gain")
    assert all(len(row) == len(part["head"]) for row in part["rows"])


def test_steps_are_compared_where_nothing_judged(tmp_path: Path) -> None:
    measured: Any = (scores("base", 0.2), scores("SFT 0", 0.4), scores("dpo 0", 0.5), scores("cpo 0", 0.7))
    tried = {"dpo": ("dpo 0",), "cpo": ("cpo 0",)}
    steps = Steps(base="base", steps={"SFT": ("SFT 0",), "cpo": ("cpo 0",)}, ways=tried, judges=(), task="sums")
    still = {"chosen": 0.0, "rejected": 0.0}
    moved: Any = (Made(log_prob_change=still, ending_change=still),) * 2
    work = Work(tmp_path, tmp_path, LocalPlace())
    compare_steps.body(work, measured, (), (), moved, steps=steps)
    found = work.figures["alignment"]
    assert [row["gain"][0] for row in found["ways"]] == pytest.approx([0.1, 0.3])
    assert [row["over_first"][0] for row in found["ways"]] == pytest.approx([0.0, 0.2])
    one: Any = Made(alignment=found)
    ways = ["Ways to learn from the same preferences", "What they do to endings"]
    assert [part["title"] for part in alignment([one])] == ["Steps, by sums", *ways]


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
