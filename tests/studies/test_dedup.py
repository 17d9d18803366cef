"""The ablation of deduplication: at every threshold as many dialogues, over the same seeds."""

from __future__ import annotations

from tests.studies.planned import inputs, planned, settings_of

SETS = ("similarities=[1.0,0.9]", "seeds=[3,5]", "size=40")


def test_sets_differ_in_the_threshold_alone_and_are_of_equal_size() -> None:
    plans = planned("dedup", *SETS)
    curated = plans["curate_dialogues"]
    assert [plan.settings["settings"]["similarity"] for plan in curated] == [1.0, 0.9]
    assert {plan.settings["settings"]["keep"] for plan in curated} == {"all"}
    assert len({inputs(plan, "dialogues")[0].key for plan in curated}) == 1  # one pool
    drawn = [(inputs(plan, "dialogues")[0].key, plan.settings["seed"]) for plan in plans["sample_dialogues"]]
    assert drawn == [(plan.key, seed) for plan in curated for seed in (3, 5)]
    assert {plan.settings["count"] for plan in plans["sample_dialogues"]} == {40}


def test_a_seed_is_that_of_the_draw_and_of_the_training_and_labels_say_both() -> None:
    plans = planned("dedup", *SETS)
    for plan in plans["sft"]:
        (some,) = inputs(plan, "dialogues")
        assert plan.settings["settings"]["seed"] == some.settings["seed"]
    labels = [plan.settings["label"] for plan in plans["evaluate_model"]]
    assert labels == ["1, seed 3", "1, seed 5", "0.9, seed 3", "0.9, seed 5"]
    (table,) = plans["compare_sets"]
    assert list(table.settings["labels"]) == ["all", "up to 0.9"]
    assert len(inputs(table, "scores")) == 4
    tasks = [use.name for use in settings_of("dedup").measure.tasks]
    assert list(table.settings["tasks"]) == tasks
