"""What `herd run`, `herd study` and `herd plan` share: the recipe that is named, and its folder."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from herd.commands.arguments import add_plugins

if TYPE_CHECKING:
    from herd.core.recipe import Recipe
    from herd.train.machines import Machine


def add_recipe_options(parser: argparse.ArgumentParser, lists: str) -> None:
    """lists: what of `herd list` has the packaged names."""
    parser.add_argument("recipe", help=f"a packaged name (herd list {lists}), a .yaml of numbers, or a .py file")
    parser.add_argument("--out", type=Path, help="folder of the run (default: runs/RECIPE)")
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="change one number")
    add_plugins(parser)
    parser.add_argument("--until", metavar="STAGE", help="end when every call of this stage is made")


def resolve_recipe(options: argparse.Namespace) -> tuple[Recipe, Path]:
    """The recipe that the options name, and the folder of its run. Raises SettingsError."""
    from herd.core.recipe import load_recipe, wiring_name
    from herd.recipes import recipes
    from herd.studies import studies

    # A recipe's name is looked for first: studies import much that no recipe needs.
    wiring = wiring_name(options.recipe)
    # A file is no packaged name, and none is imported for it.
    packaged = not wiring.endswith(".py")
    is_study = options.name == "study" or (packaged and wiring not in recipes.all() and wiring in studies.all())
    registry = studies if is_study else recipes
    recipe = load_recipe(options.recipe, registry, options.set, options.plugins)
    folder = options.out or Path("runs") / Path(options.recipe).stem
    return recipe, folder


def spread(recipe: Recipe, devices: int | None, machine: Machine) -> tuple[Recipe, list[str]]:
    """The recipe with its trainings spread over so many devices, and what was chosen; as it is where none are said."""
    if devices is None:
        return recipe, []
    from herd.recipes.layouts import choose_layouts

    return choose_layouts(recipe, devices, machine)
