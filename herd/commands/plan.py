"""`herd plan`: what a run would make."""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from herd.commands.arguments import (
    ASSUMED_MACHINE,
    add_gpus,
    add_machine,
    bounded_number,
    default_jobs,
    machine_of,
    named_machine,
    training_dtype,
)
from herd.commands.command import Command
from herd.commands.recipes import add_recipe_options, add_scale, resolve_recipe, run_folder, spread
from herd.core.terminal import count_of

if TYPE_CHECKING:
    from herd.core.stage import Plan
    from herd.recipes.costing import StageForecast
    from herd.train.machines import Machine

_KEY = re.compile(r"\b\w+-[0-9a-f]{12}\b")


def add_options(parser: argparse.ArgumentParser) -> None:
    add_recipe_options(parser, "recipes, herd list studies")
    add_scale(parser)
    output = parser.add_mutually_exclusive_group()
    output.add_argument("--yaml", action="store_true", help="print all numbers, as a file for herd run")
    output.add_argument("--json", action="store_true", help="print what training takes as JSON")
    parser.add_argument(
        "--estimate",
        action="store_true",
        help="try a few steps of every pre-training here, half a minute, and say what all will take; the "
        "report of a run in this folder holds it against what they took",
    )
    parser.add_argument(
        "--jobs", type=bounded_number(1), default=default_jobs(), help="side by side (default: %(default)s)"
    )
    add_gpus(parser)
    add_machine(parser)
    parser.add_argument(
        "--mfu",
        type=bounded_number(0.0, 1.0),
        help="share of its peak that a device reaches (default: measured by a run in this folder, else estimated)",
    )
    parser.add_argument("--law", type=Path, help="a run with a ladder, or its law.json: prints the loss to expect")


def run(options: argparse.Namespace) -> None:
    from herd.core.settings import write_yaml
    from herd.corpus.sources import planned_text_tokens
    from herd.pretrain.planning import estimate_costs, estimate_lines, write_estimates
    from herd.run.runner import required_plans
    from herd.run.worker import RunFolder

    recipe, folder = resolve_recipe(options)
    machine = machine_of(options)
    recipe, told = spread(recipe, options.gpus, machine, training_dtype(options))
    named = named_machine(options)
    if options.yaml:
        print(write_yaml(recipe.to_row()), end="")
        return
    plans = required_plans(recipe.plan(), options.until)
    if options.json:
        _print_json(plans, folder, machine, options)
        return
    for line in (*told, *plan_lines(plans, folder, named, mfu=options.mfu, law=options.law)):
        print(line)
    if options.estimate:
        estimates = estimate_costs(plans, options.jobs, planned_text_tokens)
        write_estimates(estimates, RunFolder(folder).plan)
        for line in estimate_lines(estimates, options.jobs):
            print(line)
    print(stage_count_line(plans, folder, options.recipe))


def stage_count_line(plans: Sequence[Plan], folder: Path, recipe: str) -> str:
    """The last line of a plan. recipe: as it was named."""
    return f"{count_of(len(plans), 'stage')} in {folder}; `herd plan {recipe} --yaml` prints every number"


def plan_lines(
    plans: Sequence[Plan],
    folder: Path,
    machine: Machine | None = None,
    *,
    mfu: float | None = None,
    law: Path | None = None,
    count_rows: bool = True,
) -> Iterator[str]:
    """Every stage of a run and whether it is made, then what training will take, of which text, and what loss to
    expect. machine: the devices; H100s when absent, which is said then. law: of another run; the recipe's own when
    absent and made. count_rows: whether rows are read for what fine-tuning takes."""
    from herd.core.artifacts import is_complete
    from herd.core.extras import missing_words
    from herd.core.stage import missing_packages
    from herd.core.titles import plan_titles
    from herd.pretrain.planning import text_lines
    from herd.recipes.costing import expected_losses, forecast_costs, whole_model_notes
    from herd.recipes.repeated_text import doubtful_lines, estimated_text_lines
    from herd.recipes.tuning_costs import forecast_tunings
    from herd.run.worker import RunFolder
    from herd.scaling.cost import loss_line
    from herd.train.machines import load_machine

    titles = plan_titles(plans)
    width = min(34, max(map(len, titles.values())))
    for plan in plans:
        is_made = is_complete(RunFolder(folder).artifact(plan.key))
        inputs = ", ".join(dict.fromkeys(parent.stage.name for parent in plan.parents))
        kind = plan.stage.artifact_type.__name__
        yield f"{'made ' if is_made else 'to do'}  {titles[plan.key]:{width}}  {plan.key:34} {kind:12} {inputs}"
    if missing := missing_packages(plans):
        yield missing_words(missing)
    named, artifacts = machine, RunFolder(folder).artifacts
    machine = named or load_machine(ASSUMED_MACHINE)
    forecasts = forecast_costs(plans, machine, artifacts=artifacts, mfu=mfu)
    tunings = forecast_tunings(plans, machine, artifacts=artifacts, mfu=mfu) if count_rows else []
    yield from by_title(training_lines([*forecasts, *tunings], folder, named), titles)
    yield from by_title(whole_model_notes(plans, [*forecasts, *tunings], machine), titles)
    yield from by_title(text_lines(plans, artifacts), titles)
    yield from by_title(estimated_text_lines(forecasts, artifacts), titles)
    yield from by_title(doubtful_lines(forecasts, artifacts), titles)
    for key, expected in expected_losses(plans, forecasts, artifacts, law).items():
        yield f"{titles[key]}: {loss_line(expected)}"


def training_lines(
    forecasts: Sequence[StageForecast], folder: Path, machine: Machine | None = None, *, with_counts: bool = True
) -> Iterator[str]:
    """What trainings take, stages by their keys. machine: as `plan_lines` has it, and that of the forecasts.
    with_counts: how many rows fine-tunings learn, too."""
    from herd.pretrain.planning import PlannedTraining
    from herd.recipes.costing import forecast_lines
    from herd.recipes.tuning_costs import count_lines
    from herd.run.worker import RunFolder
    from herd.train.machines import load_machine

    if forecasts and machine is None:
        tried = "; `herd plan FILE --estimate` tries what they are here"
        can_try = any(isinstance(forecast.training, PlannedTraining) for forecast in forecasts)
        yield f"times and costs are for H100s, as no device was named (--machine NAME){tried if can_try else ''}"
    yield from count_lines(forecasts if with_counts else ())
    yield from forecast_lines(
        forecasts, machine or load_machine(ASSUMED_MACHINE), RunFolder(folder).artifacts,
        gpu_advice=machine is not None,
    )  # fmt: skip


def by_title(lines: Iterable[str], titles: Mapping[str, str]) -> Iterator[str]:
    """`lines` with the names of stages in place of their keys. titles: by key."""
    for line in lines:
        yield _KEY.sub(lambda match: titles.get(match[0], match[0]), line)


def _print_json(plans: Sequence[Plan], folder: Path, machine: Machine, options: argparse.Namespace) -> None:
    from dataclasses import asdict

    from herd.recipes.costing import expected_losses, forecast_costs
    from herd.recipes.tuning_costs import forecast_tunings
    from herd.run.worker import RunFolder

    artifacts = RunFolder(folder).artifacts
    forecasts = forecast_costs(plans, machine, artifacts=artifacts, mfu=options.mfu)
    losses = expected_losses(plans, forecasts, artifacts, options.law)
    tunings = forecast_tunings(plans, machine, artifacts=artifacts, mfu=options.mfu)
    rows = [forecast.to_row() | {"expected_loss": losses.get(forecast.key)} for forecast in (*forecasts, *tunings)]
    print(json.dumps({"machine": asdict(machine), "trainings": rows}, indent=1))


COMMAND = Command("plan", "show what a run would make, and make nothing", add_options, run, run_folder)
