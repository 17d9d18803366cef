"""What the commands that write and run a recipe of their own share: `herd pretrain`, `herd sft`, `herd dpo`."""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from herd.commands.arguments import (
    add_gpus,
    add_machine,
    add_plugins,
    machine_of,
    named_machine,
    training_dtype,
)
from herd.commands.batch_job import add_slurm_options, write_sbatch
from herd.commands.plan import plan_lines
from herd.commands.recipe_file import write_recipe
from herd.commands.recipes import RECIPE_FILE, spread
from herd.commands.run import add_run_options, check_whole_models, run_recipe

if TYPE_CHECKING:
    from herd.core.recipe import Recipe


def add_job_options(parser: argparse.ArgumentParser) -> None:
    """--out, --set, --plugins, --until and --dry-run, and how a run is done."""
    parser.add_argument("--out", type=Path, help="folder of the run (default: runs/ and what is trained)")
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="change one number")
    add_plugins(parser)
    parser.add_argument("--until", metavar="STAGE", help="end when every call of this stage is made")
    parser.add_argument("--dry-run", action="store_true", help="show the recipe and what a run would make, and stop")
    add_run_options(parser)
    add_gpus(parser)
    add_machine(parser)
    add_slurm_options(parser)


def run_job(
    preset: str,
    numbers: Mapping[str, Any],
    folder: Path,
    options: argparse.Namespace,
    before: Callable[[Recipe], None] = lambda recipe: None,
    *,
    count_rows: bool = True,
) -> None:
    """Runs `preset` with `numbers` laid over it, and writes the recipe as FOLDER/recipe.yaml for `herd run`.

    The same command goes on with what is made; where its numbers are others, what differs is told and the recipe of
    before is kept under another name. before: is shown the recipe first, and may refuse it; nothing is written
    until then. count_rows: whether the plan reads rows for what fine-tuning takes; `before` may. Raises SettingsError.
    """
    from herd.core.recipe import parse_override, recipe_from
    from herd.core.settings import merge_settings, write_yaml
    from herd.recipes import recipes
    from herd.run.runner import required_plans

    values: dict[str, Any] = {"recipe": preset}
    if options.plugins:
        values["plugins"] = [str(Path(file).resolve()) for file in options.plugins]
    values |= numbers
    file = folder / RECIPE_FILE
    recipe = recipe_from(values, recipes, options.set, where=file)
    for text in options.set:
        values = merge_settings(values, parse_override(text), type(recipe.settings))
    machine, before_layouts = machine_of(options), recipe.to_row()
    recipe, told = spread(recipe, options.gpus, machine, _dtype(options))
    values = merge_settings(values, _changed(before_layouts, recipe.to_row()), type(recipe.settings))
    # Of one line, whatever the arguments hold.
    command = " ".join(shlex.join(["herd", *sys.argv[1:]]).split())
    text = f"# {command}\n{write_yaml(values)}"
    plans = required_plans(recipe.plan(), options.until)
    for line in (*told, *plan_lines(plans, folder, named_machine(options), count_rows=count_rows)):
        print(line)
    before(recipe)
    if options.dry_run:
        print(f"\nnothing was made; the recipe would be {file}:\n\n{text}", end="")
        return
    folder.mkdir(parents=True, exist_ok=True)
    write_recipe(file, values, text)
    if options.sbatch is not None:
        check_whole_models(recipe, folder, options)
        write_sbatch(recipe, folder, options, file)
        return
    run_recipe(recipe, folder, options)


def _dtype(options: argparse.Namespace) -> Literal["fp32", "bf16"] | None:
    """What trainings compute in: bf16 on GPUs, those that are here and those that a script for Slurm asks for."""
    named = training_dtype(options)
    if named is not None or options.device == "cpu":
        return named
    if options.sbatch is not None:
        return "bf16"
    from herd.model.devices import resolve_device, resolve_dtype

    return "bf16" if resolve_dtype("auto", resolve_device(options.device)) == "bf16" else None


def _changed(before: Mapping[str, Any], after: Mapping[str, Any]) -> dict[str, Any]:
    """What of `after` is another than before, lists whole."""
    changed: dict[str, Any] = {}
    for name, value in after.items():
        old = before.get(name)
        if isinstance(value, Mapping) and isinstance(old, Mapping):
            if inner := _changed(old, value):
                changed[name] = inner
        elif value != old:
            changed[name] = value
    return changed
