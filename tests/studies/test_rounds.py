"""Rounds: each goes on from the round before, every fine-tuning from the base model, and what was collected stays."""

from __future__ import annotations

from tests.studies.planned import inputs, planned

SETS = ("rounds=3", "latest=2", "seeds=[0,1]")


def test_what_was_collected_stays_and_dpo_learns_from_the_latest() -> None:
    plans = planned("rounds", *SETS)
    assert [len(inputs(plan, "preferences")) for plan in plans["train_reward"]] == [1, 2, 3]
    assert [len(inputs(plan, "preferences")) for plan in plans["dpo"]] == [1, 1, 2, 2, 2, 2]
    first, *later = plans["sft"]
    assert [len(inputs(plan, "dialogues")) for plan in (first, *later)] == [1, 2, 2, 3, 3, 4, 4]
    assert len({inputs(plan, "base")[0].key for plan in plans["sft"]}) == 1
    newest = plans["annotate"][-1]
    assert newest in inputs(plans["dpo"][-1], "preferences")


def test_answers_are_of_the_models_of_the_last_two_rounds_and_prompts_never_twice() -> None:
    plans = planned("rounds", *SETS)
    models = [[one.stage.name for one in inputs(plan, "models")] for plan in plans["annotate"]]
    assert models == [["sft"], ["average_models"], ["average_models", "average_models"]]
    purposes = [plan.settings["questions"]["purpose"] for plan in plans["draw_prompts"]]
    assert len(set(purposes)) == len(purposes) == 6
    (best,) = plans["select_best_model"]
    assert len(inputs(best, "models")) == 3
    assert inputs(best, "prompts")[0].stage.name == "heldout_prompts"


def test_only_a_verified_study_lets_the_world_choose_what_is_learnt() -> None:
    for verified in (True, False):
        for plan in planned("rounds", *SETS, f"verified={str(verified).lower()}")["rejection_sample"]:
            assert (plan.settings["settings"]["verifier"] is not None) == verified
            assert plan.settings["settings"]["gold_verifier"] is not None
