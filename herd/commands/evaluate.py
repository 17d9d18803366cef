"""`herd eval`: what a model scores."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from herd.commands.arguments import add_plugins
from herd.commands.command import Command


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("checkpoint", type=Path, help="folder of a model, or of a run for its newest")
    parser.add_argument("tasks", nargs="*", help="names of tasks (herd list tasks); all when none is named")
    parser.add_argument("--json", action="store_true", help="print JSON")
    add_plugins(parser)


def run(options: argparse.Namespace) -> None:
    from herd.core.plugins import load_plugins
    from herd.evals.harness import TaskScore
    from herd.evals.stages import score_folder
    from herd.evals.tasks import tasks
    from herd.serve.folders import model_in, world_of

    load_plugins(options.plugins, "--plugins")
    uses = [tasks.parse(name) for name in options.tasks or tasks.all()]
    folder = model_in(options.checkpoint)
    rows = {}

    def report(name: str, score: TaskScore) -> None:
        rows[name] = score.to_row()
        if not options.json:
            print(f"{name:20} {score.interval}  {len(score.right)} questions", flush=True)

    score_folder(folder, uses, world_of(folder), report)
    if options.json:
        print(json.dumps({"model": str(folder), "tasks": rows}, indent=1))


COMMAND = Command("eval", "measure a model", add_options, run)
