"""A model that teaches itself: people rank before the first round only, and every round goes on from the last."""

from __future__ import annotations

from tests.studies.planned import inputs, planned, settings_of


def test_every_round_ranks_its_own_answers_and_learns_from_nothing_else() -> None:
    plans = planned("self_rewarding", "rounds=3")
    numbers = settings_of("self_rewarding")
    before = plans["sft"][-1].key
    for own, learnt in zip(plans["rank_own_answers"], plans["dpo"], strict=True):
        assert inputs(own, "model")[0].key == inputs(learnt, "model")[0].key == before
        assert [one.key for one in inputs(learnt, "preferences")] == [own.key]
        assert (own.settings["num_samples"], own.settings["critiques"]) == (numbers.num_samples, numbers.critiques)
        before = learnt.key
    assert len(plans["dpo"]) == 3


def test_people_rank_once_to_teach_and_once_to_examine() -> None:
    plans = planned("self_rewarding", "rounds=1")
    taught, tested = plans["annotate"]
    assert [inputs(plan, "prompts")[0].settings["questions"]["purpose"] for plan in (taught, tested)] == [
        "ranked",
        "tested",
    ]
    (lessons,) = plans["criticize"]
    assert [one.key for one in inputs(lessons, "preferences")] == [taught.key]
    (critics,) = plans["evaluate_critics"]
    assert [one.key for one in inputs(critics, "preferences")] == [tested.key]
    assert len(inputs(critics, "critics")) == 2  # before the round and after it
