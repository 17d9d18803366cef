"""What `herd run`, `herd study` and `herd plan` share: the recipe that is named, and its folder."""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from herd.commands.arguments import add_plugins, bounded_number

if TYPE_CHECKING:
    from herd.core.recipe import Recipe
    from herd.train.machines import Machine

RECIPE_FILE = "recipe.yaml"  # in the folder of a run, where a command wrote it
REHEARSAL_SECONDS = 600.0  # of one CPU core, about


def add_recipe_options(parser: argparse.ArgumentParser, lists: str) -> None:
    """lists: what of `herd list` has the packaged names."""
    parser.add_argument("recipe", help=f"a packaged name (herd list {lists}), a .yaml of numbers, or a .py file")
    parser.add_argument("--out", type=Path, help="folder of the run (default: runs/RECIPE)")
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="change one number")
    add_plugins(parser)
    parser.add_argument("--until", metavar="STAGE", help="end when every call of this stage is made")


def add_scale(parser: argparse.ArgumentParser) -> None:
    """--scale and --rehearse."""
    smaller = parser.add_mutually_exclusive_group()
    smaller.add_argument(
        "--scale",
        type=bounded_number(0.0, 1.0),
        metavar="SHARE",
        help="shrink every number of the recipe to this share of its tokens, such as 3e-7, by the rules of "
        "docs/scaling.md, and run it whole on one CPU in a folder of its own",
    )
    smaller.add_argument(
        "--rehearse", action="store_true", help="--scale with the share that takes about ten minutes of a CPU core"
    )


def resolve_recipe(options: argparse.Namespace) -> tuple[Recipe, Path]:
    """The recipe that the options name, and the folder of its run. Raises SettingsError."""
    recipe = _rehearsal(_named_recipe(options), options)
    return recipe, run_folder(options)


def _named_recipe(options: argparse.Namespace) -> Recipe:
    """As it is written, before --scale."""
    from herd.core.recipe import load_recipe, wiring_name
    from herd.recipes import recipes
    from herd.studies import studies

    # A recipe's name is looked for first: studies import much that no recipe needs.
    wiring = wiring_name(options.recipe)
    # A file is no packaged name, and none is imported for it.
    packaged = not wiring.endswith(".py")
    is_study = options.name == "study" or (packaged and wiring not in recipes.all() and wiring in studies.all())
    registry = studies if is_study else recipes
    return load_recipe(options.recipe, registry, options.set, options.plugins)


def run_folder(options: argparse.Namespace) -> Path:
    """The folder of the run that the options name; nothing is planned for it. Raises SettingsError."""
    if options.out:
        return options.out
    path = Path(options.recipe)
    # The recipe that a job wrote into its run's folder goes on there.
    own = path.absolute().parent if path.name == RECIPE_FILE else Path("runs") / path.stem
    scale: float | None = getattr(options, "scale", None)
    if scale is None and getattr(options, "rehearse", False):
        scale = _rehearsal_scale(_named_recipe(options))
    return own if scale is None else own.with_name(f"{own.name}-scale-{scale:g}")


def spread(recipe: Recipe, devices: int | None, machine: Machine) -> tuple[Recipe, list[str]]:
    """The recipe with its trainings spread over so many devices, and what was chosen; as it is where none are said."""
    if devices is None:
        return recipe, []
    from herd.recipes.layouts import choose_layouts

    return choose_layouts(recipe, devices, machine)


def _rehearsal_scale(recipe: Recipe) -> float:
    from herd.recipes.rehearsal import scale_for

    return scale_for(recipe.settings, REHEARSAL_SECONDS)


def _rehearsal(recipe: Recipe, options: argparse.Namespace) -> Recipe:
    """The recipe as --scale shrinks it; what of it is not tried is told, and by `herd plan` every number that is
    another."""
    named: float | None = getattr(options, "scale", None)
    if named is None and not getattr(options, "rehearse", False):
        return recipe
    from herd.recipes.changes import change_lines
    from herd.recipes.rehearsal import rehearsal_notes, scale_down

    scale = _rehearsal_scale(recipe) if named is None else named
    small = replace(recipe, settings=scale_down(recipe.settings, scale))
    lines = rehearsal_notes(recipe.settings, small.settings)
    # What is printed to be read by a program stays alone.
    alone = getattr(options, "yaml", False) or getattr(options, "json", False)
    if (options.name == "plan" or getattr(options, "dry_run", False)) and not alone:
        lines = [*change_lines(recipe.settings, small.settings), *lines]
    for line in (f"{recipe.name} at scale {scale:g}", *lines):
        print(line, file=sys.stderr if alone else sys.stdout)
    return small
