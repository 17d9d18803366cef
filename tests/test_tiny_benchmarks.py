"""The benchmarks of `tiny`: misses are shown as misses, and what is left out is left out."""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from herd.core.errors import HerdError
from herd.core.recipe import load_recipe
from herd.core.stage import Plan, plan_of
from herd.evals.intervals import wilson
from herd.recipes import recipes
from herd.report.abilities import AbilityScore
from herd.report.verdicts import Verdict

ROOT = Path(__file__).parent.parent
SUMS = "sums by final"


@pytest.fixture
def bars(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    return importlib.import_module("tiny_bars")


@pytest.fixture
def leave_one_out(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    return importlib.import_module("tiny_leave_one_out")


def run_row(bars: ModuleType, right: int, workers: int = 1, weights: str = "aa", **changes: Any) -> dict[str, Any]:
    share = wilson(right, 200)
    verdicts = [
        Verdict(SUMS, "", "at least 95%", right >= 190, share, 200),
        Verdict("No planted copy is left", "0 of 40 left", "0 left", True),
    ]
    row = {"seed": 11, "python": "3.11.7", "torch": "2.11.0", "workers": workers, "weights": weights, **changes}
    return row | {"bars": [bars.bar_row(verdict) for verdict in verdicts], "all_weights": {"base": "b", "dpo": weights}}


def test_the_table_shows_every_run_and_every_miss(bars: ModuleType) -> None:
    failed = {"seed": 13, "python": "3.11.7", "torch": "2.11.0", "workers": 1, "failed": "exit 1: no | memory"}
    rows = [run_row(bars, 198), run_row(bars, 189, seed=12), failed]
    lines = bars.table(rows).splitlines()
    assert len(lines) == 6
    assert "99.0 % [96.4, 99.7], 200 | 0 of 40 left | 2 of 2" in lines[2]
    assert "**✗ missed: 94.5 % [90.4, 96.9], 200** | 0 of 40 left | 1 of 2" in lines[3]
    assert lines[4].count("**failed**") == 3
    assert lines[5] == "| all |  |  |  | 1 of 3 | 2 of 3 | 1 of 3 |  |"
    assert {line.replace("\\|", "").count("|") for line in lines} == {9}


def test_a_bar_that_a_run_lacks_is_a_miss(bars: ModuleType) -> None:
    short = run_row(bars, 198)
    short["bars"] = short["bars"][1:]
    lines = bars.table([run_row(bars, 198), short]).splitlines()
    assert "**never measured**" in lines[3]
    assert lines[4].startswith("| all |  |  |  | 1 of 2 | 2 of 2 | 1 of 2")


def test_shares_of_all_runs_count_the_same_bits_once(bars: ModuleType) -> None:
    rows = [run_row(bars, 198), run_row(bars, 198, workers=2), run_row(bars, 189, seed=12)]
    assert "| sums by final | 96.8 % [94.5, 98.1] | 94.5 to 99.0 % | 400 |" in bars.pool_table(rows)


def test_runs_with_other_numbers_of_workers_are_compared_by_all_their_weights(bars: ModuleType) -> None:
    same = [run_row(bars, 198), run_row(bars, 198, workers=2)]
    assert bars.same_bits(same) == ["- seed 11, Python 3.11.7: 1 and 2 workers have the same bits in all 2 models"]
    other = [run_row(bars, 198), run_row(bars, 198, workers=2, weights="ab")]
    assert bars.same_bits(other) == ["- seed 11, Python 3.11.7: 1 and 2 workers **differ**, first in dpo"]
    failed = {key: value for key, value in same[1].items() if key != "all_weights"} | {"failed": "exit 1"}
    assert "cannot be compared" in bars.same_bits([same[0], failed])[0]
    assert bars.same_bits(same[:1]) == []


def test_a_run_that_fails_is_a_row_and_is_tried_again_by_the_next_call(bars: ModuleType, tmp_path: Path) -> None:
    broken = tmp_path / "python"
    broken.write_text("#!/bin/sh\necho out of memory >&2\nexit 137\n")
    broken.chmod(0o755)
    run = bars.TinyRun(tmp_path / "run", str(ROOT / "tests" / "smoke.yaml"), ("seed=11",), str(broken), 1)
    about = {"seed": 11, "report": "write_report-1"}
    row = bars.row_of(run, about)
    assert row["failed"] == "exit 137: out of memory"
    assert not (tmp_path / "run" / "row.json").exists()
    measured = {"benchmark": "tiny_bars", "recipe": run.recipe, "bars": [], **about}
    (tmp_path / "run" / "row.json").write_text(json.dumps(measured))
    assert bars.row_of(run, about) == measured
    assert "failed" in bars.row_of(run, about | {"report": "write_report-2"})  # another report, so measured again
    (tmp_path / "run" / "row.json").write_text(json.dumps(measured | {"recipe": "another"}))
    assert "failed" in bars.row_of(run, about)
    printed = tmp_path / "printed.jsonl"
    printed.write_text("\n".join(["| a table |", json.dumps(row), json.dumps(measured)]))
    assert bars.row_of(run, about, bars.earlier_rows([printed])) == measured


def test_an_interpreter_tells_its_versions(bars: ModuleType) -> None:
    assert bars.version_of(sys.executable)["python"] == ".".join(map(str, sys.version_info[:3]))


def score(*right: int) -> AbilityScore:
    return AbilityScore(wilson(sum(right), len(right)), len(right), right)


def test_a_gain_is_paired_over_the_questions_of_all_seeds(leave_one_out: ModuleType) -> None:
    full, half = score(*[1] * 100), score(*[1, 0] * 50)
    needles = AbilityScore(wilson(40, 40), 40)
    whole = {21: {"sums": full, "needle_256": needles}, 22: {"sums": full, "needle_256": needles}}
    without = {21: {"sums": half, "needle_256": needles}, 22: {"sums": score(*[1] * 99, 0), "needle_256": needles}}
    overlay = leave_one_out.Overlay("dpo", "none")
    row = leave_one_out.stage_row(overlay, without, whole)
    assert row["gains"]["sums"]["gain"][0] == 0.255
    assert row["gains"]["sums"]["by_seed"] == {21: 0.5, 22: 0.01}
    assert row["gains"]["sums"]["questions"] == 200
    assert leave_one_out.verdict(row) == "helps sums"
    assert leave_one_out.verdict(leave_one_out.stage_row(overlay, whole, without)) == "costs sums"
    # Of one training alone it is no effect of the stage.
    one_seed = leave_one_out.stage_row(overlay, without | {22: whole[22]}, whole)
    assert one_seed["gains"]["sums"]["gain"][1] > 0
    assert leave_one_out.verdict(one_seed) == "**gains nothing that these questions show**"
    nothing = leave_one_out.stage_row(overlay, whole, whole)
    assert leave_one_out.verdict(nothing) == "**gains nothing that these questions show**"


def test_scores_are_read_again_from_a_row(leave_one_out: ModuleType) -> None:
    scores = {"sums": AbilityScore(wilson(1, 2), 2, (1.0, 0.0, None)), "needle_256": AbilityScore(wilson(40, 40), 40)}
    assert leave_one_out.scores_in(json.loads(json.dumps(leave_one_out.scores_row(scores)))) == scores


def test_a_run_of_an_earlier_call_is_not_made_again(
    leave_one_out: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(*_: Any) -> None:
        raise leave_one_out.RunFailedError("exit 1")

    monkeypatch.setattr(leave_one_out.TinyRun, "make", fail)
    overlay, smoke = leave_one_out.Overlay("dpo", "none", {"dpo": None}), str(ROOT / "tests" / "smoke.yaml")
    assert leave_one_out.measure([overlay], smoke, 11, tmp_path, 1) == {"dpo": "exit 1"}
    row = json.loads(capsys.readouterr().out)
    assert leave_one_out.measure([overlay], smoke, 11, tmp_path, 1, [row]) == {"dpo": "exit 1"}  # tried again
    scores = {"sums": score(1, 0)}
    del row["failed"]
    row["scores"] = leave_one_out.scores_row(scores)
    assert leave_one_out.measure([overlay], smoke, 11, tmp_path, 1, [row]) == {"dpo": scores}
    assert leave_one_out.measure([overlay], smoke, 12, tmp_path, 1, [row]) == {"dpo": "exit 1"}


def test_the_table_names_what_failed_and_what_touches_no_model(leave_one_out: ModuleType) -> None:
    overlay = leave_one_out.Overlay
    overlays = [overlay("dpo", "none"), overlay("law", "none", model=False), overlay("sft", "none")]
    whole = {leave_one_out.WHOLE: {"sums": score(1, 1)}}
    outcomes = {21: whole | {"dpo": {"sums": score(1, 0)}, "sft": "exit 1"}, 22: whole | {"dpo": {}, "sft": {}}}
    rows, scores = leave_one_out.rows_of(overlays, outcomes)
    assert [row["left_out"] for row in rows] == ["dpo", "sft"]
    lines = leave_one_out.table(rows, overlays, scores).splitlines()
    assert lines[2].startswith("| the whole | 100.0 % [")
    assert "no model depends on it" in lines[4]
    assert "**failed**: seed 21: exit 1" in lines[5]
    outcomes[23] = {leave_one_out.WHOLE: "exit 2", "dpo": {"sums": score(1, 0)}}
    rows, scores = leave_one_out.rows_of(overlays[:1], outcomes)
    assert [row["left_out"] for row in rows] == [leave_one_out.WHOLE, "dpo"]
    assert sorted(scores) == [21, 22]
    assert "**failed**: seed 23: exit 2" in leave_one_out.table(rows, overlays[:1], scores).splitlines()[2]


@pytest.fixture(scope="module")
def overlay_plans() -> dict[str, Plan]:
    """By name the plan of the report of every overlay that a model depends on, and of the whole."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(ROOT / "benchmarks"))
        benchmark = importlib.import_module("tiny_leave_one_out")
    overlays = [overlay for overlay in benchmark.overlays_in(benchmark.OVERLAYS) if overlay.model]
    overlays.append(benchmark.Overlay(benchmark.WHOLE, ""))
    return {o.name: plan_of(load_recipe("tiny", recipes, o.overrides(21)).plan()) for o in overlays}


def planned(report: Plan) -> dict[str, list[Plan]]:
    """All that a report is made of, by stage."""
    by_key, unvisited = {report.key: report}, [report]
    while unvisited:
        new = {parent.key: parent for parent in unvisited.pop().parents if parent.key not in by_key}
        by_key |= new
        unvisited += new.values()
    by_stage: dict[str, list[Plan]] = {}
    for plan in by_key.values():
        by_stage.setdefault(plan.stage.name, []).append(plan)
    return by_stage


def scores_of(report: Plan) -> list[Plan]:
    scores = report.inputs["scores"]
    assert isinstance(scores, tuple)
    return [plan_of(score) for score in scores]


def test_each_overlay_leaves_something_out_of_the_last_model(overlay_plans: dict[str, Plan]) -> None:
    last = {name: scores_of(report)[-1] for name, report in overlay_plans.items()}
    assert len({plan.key for plan in last.values()}) == len(last)
    assert {plan.settings["label"] for plan in last.values()} == {"final"}


def test_models_keep_their_labels_whatever_is_left_out(overlay_plans: dict[str, Plan]) -> None:
    labels = {name: [plan.settings["label"] for plan in scores_of(report)] for name, report in overlay_plans.items()}
    whole = labels["the whole"]
    assert whole == ["base", "SFT 1", "refusals 1", "DPO 1", "chat 1", "SFT 2", "refusals 2", "DPO 2", "final"]
    without = {"refusals": {"refusals 1", "refusals 2"}, "preferences": {"DPO 1", "DPO 2"}}
    for name in overlay_plans.keys() - {"second round"}:
        assert labels[name] == [label for label in whole if label not in without.get(name, ())], name
    assert labels["second round"] == ["base", "SFT 1", "refusals 1", "DPO 1", "final"]


@pytest.mark.parametrize(
    ("name", "stages"),
    [
        ("length stages", {"extend_context"}),
        ("annealing", {"anneal"}),
        ("refusals", {"draw_trivia", "probe_knowledge", "sample_by_source", "interpolate_models"}),
        ("preferences", {"dpo"}),
        ("reward model", {"train_reward"}),
        ("rejection sampling", {"rejection_sample", "train_reward"}),
    ],
)
def test_what_an_overlay_leaves_out_is_not_made(overlay_plans: dict[str, Plan], name: str, stages: set[str]) -> None:
    assert planned(overlay_plans["the whole"]).keys() - planned(overlay_plans[name]).keys() == stages


def test_without_refusals_one_model_answers_twice(overlay_plans: dict[str, Plan]) -> None:
    asked = {name: len(planned(overlay_plans[name])["annotate"][0].parents) - 1 for name in ("the whole", "refusals")}
    assert asked == {"the whole": 2, "refusals": 1}


def test_no_stage_is_made_again_that_comes_before_what_is_left_out(overlay_plans: dict[str, Plan]) -> None:
    """Of the first round's model; what changes only after it has no line."""
    first = {
        "curation": "pretrain",
        "learnt vocabulary": "pretrain",
        "batch phases": "pretrain",
        "mix phases": "pretrain",
        "Muon": "pretrain",
        "length stages": "anneal",
        "averaging of checkpoints": "anneal",
        "annealing": "sft",
        "replay": "sft",
        "refusals": "annotate",
        "balanced pairs": "dpo",
        "averaging of DPO runs": "average_models",
        "interpolation": "interpolate_models",
        "preferences": "interpolate_models",
    }
    whole = {plan.key for plans in planned(overlay_plans["the whole"]).values() for plan in plans}
    order = "pretrain extend_context anneal sft annotate dpo average_models interpolate_models".split()
    for name, report in overlay_plans.items():
        after_a_round = next(plan for plan in scores_of(report) if plan.settings["label"] in ("chat 1", "final"))
        by_stage = planned(after_a_round)
        new = [stage for stage in order if not whole.issuperset(plan.key for plan in by_stage.get(stage, ()))]
        assert next(iter(new), None) == first.get(name), name


def test_an_overlay_that_fits_no_setting_is_refused(leave_one_out: ModuleType) -> None:
    with pytest.raises(HerdError, match="no_such_setting"):
        load_recipe("tiny", recipes, leave_one_out.Overlay("x", "", {"no_such_setting": 1}).overrides(1))
