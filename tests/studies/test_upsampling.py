"""Upsampling at the end: the same tokens in all, from one mix, with more and more of the end given away."""

from __future__ import annotations

from tests.studies.planned import inputs, planned, settings_of


def test_runs_differ_in_the_end_and_the_seed_alone() -> None:
    plans = planned("upsampling", "ends=[0.0,0.2]", "seeds=[0,7]")
    trials = plans["try_mix"]
    assert [(plan.settings["trial"]["late_share"], plan.settings["seed"]) for plan in trials] == [
        (0.0, 0), (0.0, 7), (0.2, 0), (0.2, 7)
    ]  # fmt: skip
    rest = {str({**plan.settings["trial"], "late_share": None}) for plan in trials}
    assert len(rest) == 1
    assert len({inputs(plan, "mix")[0].key for plan in trials}) == 1
    (curve,) = plans["upsampling_curve"]
    assert len(inputs(curve, "trials")) == 4
    assert list(curve.settings["domains"]) == list(settings_of("upsampling").domains)


def test_the_end_gives_more_to_the_domains_one_cares_for_and_one_run_does_without() -> None:
    numbers = settings_of("upsampling")
    assert 0.0 in numbers.ends  # what all others are held against
    for domain in numbers.domains:
        assert numbers.late[domain] > numbers.default.get(domain, 0.0)
    (mix,) = planned("upsampling")["find_mix"]
    assert mix.settings["method"] == {"fixed_weights": {"label": "default", "weights": numbers.default}}
