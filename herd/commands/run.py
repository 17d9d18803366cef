"""`herd run`: makes what a recipe plans."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from herd.commands.arguments import (
    add_device,
    add_gpus,
    add_machine,
    bounded_number,
    default_jobs,
    machine_of,
    named_machine,
)
from herd.commands.batch_job import add_slurm_options, write_sbatch
from herd.commands.command import Command
from herd.commands.recipes import add_recipe_options, add_scale, resolve_recipe, run_folder, spread

if TYPE_CHECKING:
    from herd.core.recipe import Recipe


def add_options(parser: argparse.ArgumentParser, lists: str = "recipes") -> None:
    """lists: what of `herd list` has the packaged names."""
    add_recipe_options(parser, lists)
    add_scale(parser)
    parser.add_argument("--dry-run", action="store_true", help="show what `herd plan` shows, and stop")
    add_run_options(parser)
    add_gpus(parser)
    add_machine(parser)
    add_slurm_options(parser)


def add_run_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--jobs", type=bounded_number(0), default=default_jobs(), help="stages side by side (default: %(default)s)"
    )
    parser.add_argument(
        "--executor",
        help="local, torchrun, slurm, ray or ray://HOST:PORT (default: the recipe's, else torchrun where that started "
        "herd, else local)",
    )
    parser.add_argument(
        "--log",
        action="append",
        default=[],
        metavar="TRACKER",
        help="draw curves of training: tensorboard, wandb or trackio",
    )
    parser.add_argument(
        "--save-every",
        type=bounded_number(0.0),
        metavar="SECONDS",
        help="between checkpoints of training (default: by Young's formula, from what saving costs here)",
    )
    parser.add_argument(
        "--keep-every",
        type=bounded_number(0),
        default=0,
        metavar="STEPS",
        help="keep a model of every so many steps of pre-training, in RUN/checkpoints (default: none)",
    )
    parser.add_argument(
        "--gc-every",
        type=bounded_number(0),
        default=50,
        metavar="STEPS",
        help="between collections of Python's garbage; 0: when Python likes (default: %(default)s)",
    )
    parser.add_argument(
        "--profile",
        type=parse_trace_steps,
        metavar="FIRST:COUNT",
        help="trace these steps of every training, such as 10:3; RUN/curves/STAGE/trace-FIRST.json is for Perfetto "
        "and chrome://tracing",
    )
    parser.add_argument(
        "--heartbeat-timeout",
        type=bounded_number(0.0),
        default=30.0,
        metavar="SECONDS",
        help="after which a rank counts as frozen (default: %(default)s)",
    )
    parser.add_argument(
        "--max-restarts",
        type=bounded_number(0),
        default=3,
        help="how often ranks are started again without getting on (default: %(default)s)",
    )
    parser.add_argument(
        "--compare-every",
        type=int,
        default=10,
        metavar="STEPS",
        help="between comparisons of what several ranks hold in memory (default: %(default)s)",
    )
    parser.add_argument(
        "--inference-ranks",
        type=bounded_number(1),
        metavar="N",
        help="ranks over which generation, selection, scoring and evaluation divide their rows (default: 1; with "
        "torchrun and slurm all)",
    )
    add_device(parser)


def parse_trace_steps(text: str) -> tuple[int, int]:
    """`10:3`: three steps from the tenth on."""
    first, _, count = text.partition(":")
    if not (first.isdecimal() and count.isdecimal() and int(first) and int(count)):
        raise argparse.ArgumentTypeError(f"{text!r} names no steps; write the first and how many, such as 10:3")
    return int(first), int(count)


def run(options: argparse.Namespace) -> None:
    recipe, folder = resolve_recipe(options)
    recipe, told = spread(recipe, options.gpus, machine_of(options))
    for line in told:
        print(line)
    if options.dry_run:
        from herd.commands.plan import plan_lines, stage_count_line
        from herd.run.runner import required_plans

        plans = required_plans(recipe.plan(), options.until)
        for line in (
            *plan_lines(plans, folder, named_machine(options)),
            stage_count_line(plans, folder, options.recipe),
        ):
            print(line)
        return
    if options.sbatch is not None:
        write_sbatch(recipe, folder, options)
        return
    run_recipe(recipe, folder, options)


def run_recipe(recipe: Recipe, folder: Path, options: argparse.Namespace) -> None:
    """Makes what `recipe` plans in `folder`, and says where it lies. options: those of `add_run_options`, and until."""
    from herd.core.artifacts import Report
    from herd.core.stage import RunOptions
    from herd.recipes.declared import check_declared
    from herd.run.launcher import launched_executor, launcher_session
    from herd.run.progress import display
    from herd.run.ranks import Rank
    from herd.run.runner import required_plans, run_stages

    target = recipe.plan()
    check_declared(required_plans(target, options.until))
    named = options.executor or (None if recipe.executor == "local" else recipe.executor)
    with launcher_session(launched_executor(named), folder, options.jobs) as (executor, jobs):
        started_ranks = Rank.from_env().world_size if executor.startswith("joined:") else 1
        artifact = run_stages(
            target,
            folder,
            jobs=jobs,
            until=options.until,
            executor=executor,
            options=RunOptions(
                trackers=tuple(options.log),
                save_every_seconds=options.save_every,
                heartbeat_timeout_seconds=options.heartbeat_timeout,
                max_restarts=options.max_restarts,
                compare_every_steps=options.compare_every,
                keep_every_steps=options.keep_every,
                gc_every_steps=options.gc_every,
                profile=options.profile,
                device=options.device,
                dtype=options.dtype,
                inference_ranks=options.inference_ranks or started_ranks,
            ),
            display=display(),
        )
    if isinstance(artifact, Report):
        print(f"\nreport: {artifact.path / 'report.html'}")
    else:
        print(f"\nmade: {artifact.path}")
    from herd.serve.folders import next_command

    if command := next_command(folder):
        print(command)


COMMAND = Command("run", "run a recipe; what is made already is skipped", add_options, run, run_folder)
