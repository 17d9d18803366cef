"""--sbatch: a run as a script for Slurm, in the place of running it here."""

from __future__ import annotations

import argparse
import inspect
import shlex
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from herd.commands.arguments import amount, bounded_number, machine_of
from herd.commands.recipe_file import write_recipe
from herd.commands.recipes import RECIPE_FILE
from herd.core.terminal import count_of

if TYPE_CHECKING:
    from herd.core.recipe import Recipe
    from herd.core.stage import Plan

_TEXT_STAGE = "pack"  # up to here no GPU is wanted
_MOST_HOURS, _SPARE = 24.0, 1.3
# Stages with a model that take a small share of the training before them, which the spare third has room for.
_SHORT = ("evaluate_model", "average_models", "interpolate_models")
# Options of `herd run` that a script hands on, with what they are when nobody says anything.
_HANDED_ON = {
    "save_every": None, "keep_every": 0, "gc_every": 50, "profile": None, "heartbeat_timeout": 30.0, "max_restarts": 3,
    "compare_every": 10, "inference_ranks": None, "device": "auto", "dtype": "fp32",
}  # fmt: skip


def add_slurm_options(parser: argparse.ArgumentParser) -> None:
    """--sbatch and what a job asks Slurm for."""
    slurm = parser.add_argument_group("Slurm", "a script for sbatch in the place of a run")
    slurm.add_argument("--sbatch", type=Path, metavar="FILE", help="write the script and run nothing")
    slurm.add_argument("--nodes", type=amount, default=1, help="(default: %(default)s)")
    slurm.add_argument("--gpus-per-node", type=amount, default=8, metavar="N", help="(default: %(default)s)")
    slurm.add_argument("--cpus-per-task", type=amount, default=8, metavar="N", help="(default: %(default)s)")
    slurm.add_argument(
        "--hours",
        type=bounded_number(0.1),
        help="until the job saves and queues again (default: by `herd plan` and a third more, at most 24, and 24 where "
        "it does not know)",
    )
    slurm.add_argument("--partition", default="", help="of the cluster (default: its own)")


def write_sbatch(recipe: Recipe, folder: Path, options: argparse.Namespace, recipe_file: Path | None = None) -> None:
    """Writes the script, before it one for the text where the recipe packs some, and says how both are submitted.

    recipe_file: the recipe where it is written already; else FOLDER/recipe.yaml is, and another one that is there is
    kept under another name. Raises SettingsError, and
    writes nothing, where text or rows are only declared, or a training is for more devices than the job has.
    """
    from herd.core.artifacts import atomic_write
    from herd.core.settings import write_yaml
    from herd.recipes.declared import check_declared
    from herd.run.runner import required_plans
    from herd.run.slurm import sbatch_script

    plans = required_plans(recipe.plan(), options.until)
    devices = options.nodes * options.gpus_per_node
    check_declared(plans)
    _check_ranks(plans, devices)
    folder.mkdir(parents=True, exist_ok=True)
    if recipe_file is None:
        recipe_file = folder / RECIPE_FILE
        if not _holds(recipe_file, recipe):
            write_recipe(recipe_file, row := _row(recipe), write_yaml(row))
    # In the folder of a checkout `-m` alone would run its code, whichever herd wrote the script.
    here = [] if Path(__file__).parents[2] == Path.cwd() else ["-P"]
    command = [sys.executable, *here, "-m", "herd", "run", str(recipe_file.resolve()), "--out", str(folder.resolve())]
    shared: dict[str, Any] = {"job_name": f"herd-{folder.name}", "folder": folder, "partition": options.partition}
    hours, note = (options.hours, "") if options.hours else _hours(plans, folder, options)
    until = ["--until", options.until] if options.until else []
    script = sbatch_script(
        [*command, *until, *_handed_on(options), "--executor", "slurm"], nodes=options.nodes,
        gpus_per_node=options.gpus_per_node, cpus_per_task=options.cpus_per_task, hours=hours, note=note, **shared,
    )  # fmt: skip
    file: Path = options.sbatch
    file.parent.mkdir(parents=True, exist_ok=True)
    atomic_write(file, script)
    submit = f"sbatch {shlex.quote(str(file))}"
    if any(plan.stage.name == _TEXT_STAGE for plan in plans) and options.until != _TEXT_STAGE:
        text = file.with_name(f"{file.stem}-text{file.suffix}")
        cores = options.cpus_per_task * options.gpus_per_node
        first = [*command, "--until", _TEXT_STAGE, "--executor", "local", "--jobs", str(cores)]
        text_hours, text_note = (options.hours, "") if options.hours else (_MOST_HOURS, _unknown(("the text",)))
        atomic_write(
            text,
            sbatch_script(
                first, nodes=1, gpus_per_node=0, cpus_per_task=cores, hours=text_hours, note=text_note, **shared
            ),
        )
        first_job = f"$(sbatch --parsable {shlex.quote(str(text))})"
        submit = f"sbatch --dependency=afterok:{first_job} {shlex.quote(str(file))}"
    nodes = f"{count_of(options.nodes, 'node')} of {options.gpus_per_node} GPUs"
    print(f"{file}: {nodes}, {hours:.1f} h at a time; submit it with")
    print(f"  {submit}")
    for line in _idle_lines(plans, devices):
        print(line)


def _row(recipe: Recipe) -> dict[str, object]:
    """The recipe's numbers, with a wiring and plug-ins of the user's own named so that they are found from anywhere."""
    row = recipe.to_row()
    if not recipe.function.__module__.startswith("herd."):
        row["recipe"] = str(Path(inspect.getfile(recipe.function)).resolve())
    if recipe.plugins:
        row["plugins"] = [str(Path(file).resolve()) for file in recipe.plugins]
    return row


def _holds(file: Path, recipe: Recipe) -> bool:
    """Whether `file` is this recipe already, in whatever words."""
    from herd.core.errors import HerdError
    from herd.core.recipe import load_recipe
    from herd.recipes import recipes

    if not file.exists():
        return False
    try:
        return _row(load_recipe(str(file), recipes)) == _row(recipe)
    except HerdError:  # of another version, or another thing
        return False


def _check_ranks(plans: Sequence[Plan], devices: int) -> None:
    """Fewer ranks than the job starts are right: the others wait until the stage is made."""
    from herd.core.errors import SettingsError

    for plan in plans:
        ranks = plan.stage.ranks(plan.settings)
        if ranks > devices:
            raise SettingsError(
                f"{plan.key} is laid out over {ranks:,} devices and the job has {devices:,}; give --gpus {devices}, or "
                "more --nodes and --gpus-per-node"
            )


def _idle_lines(plans: Sequence[Plan], devices: int) -> Iterator[str]:
    """Which trainings leave devices of the job without work, each stage and number once."""
    ranks = {(plan.stage.name, plan.stage.ranks(plan.settings)): None for plan in plans}
    if devices > 1 and all(count == 1 for _, count in ranks):
        yield f"no training is laid out over its {devices} devices, so that one works; give --gpus {devices}"
        return
    fewer = [f"{name} {count:,}" for name, count in ranks if 1 < count < devices]
    if fewer:
        yield f"of {devices:,} devices some stages use fewer, and the others wait meanwhile: {', '.join(fewer)}"


def _hours(plans: Sequence[Plan], folder: Path, options: argparse.Namespace) -> tuple[float, str]:
    """How long the job wants, and a note on that: the most where stages are to be made of which nobody knows how long
    they take."""
    from herd.core.artifacts import is_complete
    from herd.recipes.costing import forecast_costs
    from herd.run.worker import RunFolder

    todo = {plan.key: plan for plan in plans if not is_complete(RunFolder(folder).artifact(plan.key))}
    forecasts = [
        forecast
        for forecast in forecast_costs(plans, machine_of(options), artifacts=RunFolder(folder).artifacts)
        if forecast.key in todo
    ]
    known = {forecast.key for forecast in forecasts if not forecast.is_least}
    short = _SHORT if known else ()
    unknown = dict.fromkeys(
        plan.stage.name
        for plan in todo.values()
        if plan.stage.gpu and plan.key not in known and plan.stage.name not in short
    )
    if unknown:
        return _MOST_HOURS, _unknown(tuple(unknown))
    return min(_MOST_HOURS, 1.0 + _SPARE * 24 * sum(forecast.days for forecast in forecasts)), ""


def _unknown(what: Sequence[str]) -> str:
    return (
        f"{_MOST_HOURS:.0f} h at a time, as nothing says how long {', '.join(what)} will take; --hours asks for "
        "another time. A job that is done earlier ends earlier."
    )


def _handed_on(options: argparse.Namespace) -> list[str]:
    words: list[str] = []
    for name, usual in _HANDED_ON.items():
        if (value := getattr(options, name)) != usual:
            text = ":".join(map(str, value)) if isinstance(value, tuple) else str(value)
            words += [f"--{name.replace('_', '-')}", text]
    for tracker in options.log:
        words += ["--log", tracker]
    return words
