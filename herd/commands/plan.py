"""`herd plan`: what a run would make."""

from __future__ import annotations

import argparse

from herd.commands.arguments import default_jobs, number
from herd.commands.command import Command
from herd.commands.recipes import add_recipe_options, planned


def add_options(parser: argparse.ArgumentParser) -> None:
    add_recipe_options(parser, "recipes, herd list studies")
    parser.add_argument("--yaml", action="store_true", help="print all numbers, as a file for herd run")
    parser.add_argument(
        "--rehearse",
        action="store_true",
        help="try a few steps of every pre-training here, half a minute, and say what all will take; the "
        "report of a run in this folder holds it against what they took",
    )
    parser.add_argument("--jobs", type=number(1), default=default_jobs(), help="side by side (default: %(default)s)")


def run(options: argparse.Namespace) -> None:
    from herd.core.artifacts import is_whole
    from herd.core.settings import write_yaml
    from herd.pretrain.planning import foretell, foretold_lines, layout_lines, text_lines, write_foretold
    from herd.run.runner import needed
    from herd.run.worker import RunFolder

    recipe, folder = planned(options)
    if options.yaml:
        print(write_yaml(recipe.to_row()), end="")
        return
    plans = needed(recipe.plan(), options.until)
    for one in plans:
        made = is_whole(RunFolder(folder).artifact(one.key))
        inputs = ", ".join(dict.fromkeys(parent.stage.name for parent in one.parents))
        print(f"{'made ' if made else 'to do'}  {one.key:34} {one.stage.makes.__name__:12} {inputs}")
    for words in (layout_lines, text_lines):
        for line in words(plans, RunFolder(folder).artifacts):
            print(line)
    if options.rehearse:
        found = foretell(plans, options.jobs)
        write_foretold(found, RunFolder(folder).plan)
        for line in foretold_lines(found, options.jobs):
            print(line)
    print(f"{len(plans)} stages in {folder}; `herd plan {options.recipe} --yaml` prints every number")


COMMAND = Command("plan", "show what a run would make, and make nothing", add_options, run)
