"""`herd plan`: what a run would make."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from herd.commands.arguments import bounded_number, default_jobs
from herd.commands.command import Command
from herd.commands.recipes import add_recipe_options, add_scale, resolve_recipe

if TYPE_CHECKING:
    from herd.core.stage import Plan


def add_options(parser: argparse.ArgumentParser) -> None:
    add_recipe_options(parser, "recipes, herd list studies")
    add_scale(parser)
    parser.add_argument("--yaml", action="store_true", help="print all numbers, as a file for herd run")
    parser.add_argument(
        "--estimate",
        action="store_true",
        help="try a few steps of every pre-training here, half a minute, and say what all will take; the "
        "report of a run in this folder holds it against what they took",
    )
    parser.add_argument(
        "--jobs", type=bounded_number(1), default=default_jobs(), help="side by side (default: %(default)s)"
    )


def run(options: argparse.Namespace) -> None:
    from herd.core.settings import write_yaml
    from herd.pretrain.planning import estimate_costs, estimate_lines, write_estimates
    from herd.run.runner import required_plans
    from herd.run.worker import RunFolder

    recipe, folder = resolve_recipe(options)
    if options.yaml:
        print(write_yaml(recipe.to_row()), end="")
        return
    plans = required_plans(recipe.plan(), options.until)
    for line in plan_lines(plans, folder):
        print(line)
    if options.estimate:
        estimates = estimate_costs(plans, options.jobs)
        write_estimates(estimates, RunFolder(folder).plan)
        for line in estimate_lines(estimates, options.jobs):
            print(line)
    print(f"{len(plans)} stages in {folder}; `herd plan {options.recipe} --yaml` prints every number")


def plan_lines(plans: Sequence[Plan], folder: Path) -> Iterator[str]:
    """Every stage of a run and whether it is made, then what training will take, and of which text."""
    from herd.core.artifacts import is_complete
    from herd.pretrain.planning import layout_lines, text_lines
    from herd.run.worker import RunFolder

    for plan in plans:
        is_made = is_complete(RunFolder(folder).artifact(plan.key))
        inputs = ", ".join(dict.fromkeys(parent.stage.name for parent in plan.parents))
        yield f"{'made ' if is_made else 'to do'}  {plan.key:34} {plan.stage.artifact_type.__name__:12} {inputs}"
    for words in (layout_lines, text_lines):
        yield from words(plans, RunFolder(folder).artifacts)


COMMAND = Command("plan", "show what a run would make, and make nothing", add_options, run)
