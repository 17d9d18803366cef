"""`herd study`: runs a study as a recipe is run."""

from __future__ import annotations

import argparse

from herd.commands import run
from herd.commands.command import Command
from herd.commands.recipes import run_folder


def add_options(parser: argparse.ArgumentParser) -> None:
    run.add_options(parser, "studies")


COMMAND = Command(
    "study", "run a study: methods beside controls, over seeds, in one report", add_options, run.run, run_folder
)
