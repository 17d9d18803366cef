"""Answers a word apart: each seed's model learns from pairs of its own, in every way."""

from __future__ import annotations

from tests.studies.planned import inputs, planned, settings_of


def test_every_seed_has_sums_of_its_own_and_every_way_learns_from_them() -> None:
    plans = planned("edits", "seeds=[2,4]", "pairs=30")
    asked = plans["draw_prompts"]
    assert [plan.settings["questions"]["counts"] for plan in asked] == [{"sum": 30}] * 2
    assert len({plan.settings["questions"]["purpose"] for plan in asked}) == 2
    ways = settings_of("edits").methods
    assert len(plans["dpo"]) == 2 * len(ways)
    for plan in plans["dpo"]:
        seed = plan.settings["settings"]["seed"]
        (pairs,), (model,) = inputs(plan, "preferences"), inputs(plan, "model")
        assert seed in (2, 4)
        assert pairs.stage.name == "corrupt_answers"
        assert inputs(pairs, "prompts")[0].settings["questions"]["purpose"] == f"misquoted, seed {seed}"
        assert model.settings["settings"]["seed"] == seed
