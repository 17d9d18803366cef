"""`herd study`: runs a study as a recipe is run."""

from __future__ import annotations

import argparse

from herd.commands.command import Command
from herd.commands.recipes import add_recipe_options
from herd.commands.run import add_run_options, run


def add_options(parser: argparse.ArgumentParser) -> None:
    add_recipe_options(parser, "studies")
    add_run_options(parser)


COMMAND = Command("study", "run a study: methods beside controls, over seeds, in one report", add_options, run)
