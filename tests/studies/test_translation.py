"""Ways of learning from ranked translations: held against each other from the same models, seed by seed."""

from __future__ import annotations

from tests.studies.planned import inputs, planned, settings_of


def test_every_way_starts_from_each_seeds_model_with_that_seeds_pairs() -> None:
    plans = planned("translation", "seeds=[1,6]")
    ways = settings_of("translation").methods
    assert len(plans["dpo"]) == 2 * len(ways)
    for plan in plans["dpo"]:
        seed = plan.settings["settings"]["seed"]
        (model,), (pairs,) = inputs(plan, "model"), inputs(plan, "preferences")
        assert model.settings["settings"]["seed"] == seed
        assert inputs(pairs, "models")[0].key == model.key  # ranked are the model's own answers
        assert pairs.settings["sampling"]["seed"] == seed
    shown = {plan.settings["questions"]["purpose"] for plan in plans["demonstrate"]}
    assert shown == {f"demonstrations, seed {seed}" for seed in (1, 6)}
    assert all(set(plan.settings["questions"]["counts"]) == {"translation"} for plan in plans["demonstrate"])


def test_all_models_are_measured_and_compared_under_their_labels() -> None:
    plans = planned("translation", "seeds=[1,6]")
    ways = list(settings_of("translation").methods)
    labels = [plan.settings["label"] for plan in plans["evaluate_model"]]
    assert labels == [
        "base", "SFT 1", "SFT 6", *(f"{way} {seed}" for way in ways for seed in (1, 6))
    ]  # fmt: skip
    (table,) = plans["compare_steps"]
    steps = table.settings["steps"]
    assert list(steps["methods"]) == ways
    assert set(steps["steps"]) == {"SFT", settings_of("translation").last}
    assert {one for some in steps["methods"].values() for one in some} <= set(labels)
