"""What a plan says of training: the stages as they will be taken, the text they want, and what came of it."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from herd.core.artifacts import Artifact
from herd.pretrain.planning import (
    StageCost,
    estimate_lines,
    planned_trainings,
    simulate_schedule,
    text_lines,
    write_estimates,
)
from herd.report.pages import cost_estimates
from herd.run.processes import held_bytes
from herd.run.runner import distance_to_end, required_plans
from herd.serve.folders import artifacts_in
from herd.train.schedule import BatchPhase, BatchRamp
from tests.smoke import planned

# Of a step on one thread, and on two.
ALONE, BOTH = StageCost(1.0, 1.0, 50.0, peak_bytes=800.0), StageCost(0.6, 1.1, 90.0, peak_bytes=900.0)


def test_stages_are_played_through_as_the_runner_takes_them() -> None:
    plans = required_plans(planned())
    own = planned_trainings(plans)
    assert {one.plan.stage.name for one in own} == {"pretrain", "extend_context", "anneal"}
    paces = {one.plan.key: [ALONE, BOTH] for one in own}
    found = simulate_schedule(own, paces, distance_to_end(plans), jobs=2)
    by_stage = {one.plan.key: one.plan for one in own}
    for key, one in found.items():
        for parent in by_stage[key].parents:
            if parent.key in found:
                assert one.start_seconds >= found[parent.key].end_seconds
        # Beside another stage on one thread, alone on two.
        assert 1.0 - 1e-9 <= one.core_seconds <= 1.1 + 1e-9
        assert one.held_bytes in (50.0, 90.0)
    last = max(one.end_seconds for one in found.values())
    steps = sum(one.steps for one in found.values())
    assert 0.5 * steps <= last <= steps
    alone = simulate_schedule(own, paces, distance_to_end(plans), jobs=1)
    assert max(one.end_seconds for one in alone.values()) == pytest.approx(steps)


def test_a_plan_tells_the_text_that_its_largest_run_wants(smoke_run: Path) -> None:
    plans = required_plans(planned())
    (before,) = text_lines(plans, smoke_run / "nowhere")
    (after,) = text_lines(plans, smoke_run / "artifacts")
    assert "times" not in before
    assert " times)" in after
    assert before.split(" reads ")[0] in {one.plan.key for one in planned_trainings(plans)}


def test_what_was_estimated_reaches_cards_and_report(smoke_run: Path, tmp_path: Path) -> None:
    from herd.run.runner import run_stages

    sizes = ",".join(
        f"{{dim: {n}, n_layers: 1, n_heads: 2, n_kv_heads: 1, ffn_dim: {2 * n}}}" for n in (16, 24, 32, 40)
    )
    plans = required_plans(planned("ladder.budgets=[2.0e+9]", f"ladder.sizes=[{sizes}]"), until="fit_law")
    own = planned_trainings(plans)
    assert len(own) == 4
    found = simulate_schedule(own, {one.plan.key: [ALONE] for one in own}, distance_to_end(plans), jobs=1)
    write_estimates(found, tmp_path / "plan.json")
    assert "core-seconds here" in list(estimate_lines(found, 1))[-1]
    for plan in plans:  # the corpus is that of the run that is there
        if plan.stage.name not in ("pretrain", "fit_law"):
            shutil.copytree(smoke_run / "artifacts" / plan.key, tmp_path / "artifacts" / plan.key)
    for training in own:
        run_stages(Artifact.from_plan(training.plan), tmp_path, jobs=1)
    made = [one for one in artifacts_in(tmp_path) if one.metadata["stage"] == "pretrain"]
    assert len(made) == len(own)
    assert all(one.metadata["cost"]["estimate"]["core_seconds"] == 1.0 for one in made)
    shown = cost_estimates(made)
    if held_bytes():  # where the system says what a process holds
        assert shown is not None
        assert len(shown["rows"]) == len(made)
        assert "were estimated" in shown["words"]


def test_steps_by_rows_are_those_of_the_ramp_and_a_plan_without_training_says_so() -> None:
    ramp = BatchRamp((BatchPhase(until=0.5, batch_tokens=64), BatchPhase(until=1.0, batch_tokens=128)), 4096, 32)
    each = [len(ramp.rows_of(step)) for step in range(ramp.steps)]
    assert ramp.batches == {rows: each.count(rows) for rows in set(each)}
    assert list(estimate_lines({}, 2)) == ["nothing to estimate: no stage of pre-training on one device is planned"]
