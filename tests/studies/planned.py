"""The plans of a packaged study, by stage, without anything being run."""

from __future__ import annotations

from typing import Any

from herd.core.recipe import load_recipe
from herd.core.stage import Plan, walk
from herd.studies import studies


def settings_of(name: str, *sets: str) -> Any:
    return load_recipe(name, studies, sets).settings


def planned(name: str, *sets: str) -> dict[str, list[Plan]]:
    """Of every stage the plans, each after all it waits for."""
    found: dict[str, list[Plan]] = {}
    for plan in walk(load_recipe(name, studies, sets).plan()):
        found.setdefault(plan.stage.name, []).append(plan)
    return found


def inputs(plan: Plan, name: str) -> list[Plan]:
    """What `plan` takes under this name, as plans."""
    given: Any = plan.inputs[name]
    return [one.plan for one in (given if isinstance(given, tuple) else (given,))]
