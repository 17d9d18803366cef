"""`herd eval`: what a model scores."""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import asdict
from pathlib import Path

from herd.commands.arguments import add_device, add_plugins, amount
from herd.commands.command import Command


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("checkpoint", type=Path, help="folder of a model, or of a run for its newest")
    parser.add_argument(
        "tasks", nargs="*", help="names (herd list tasks), or `name: {setting: value}`; those of its run when absent"
    )
    parser.add_argument(
        "--out", type=Path, metavar="DIR", help="keep every answer here, with a page; the same command goes on from it"
    )
    parser.add_argument("--limit", type=amount, metavar="N", help="ask the first N examples of a task")
    parser.add_argument("--json", action="store_true", help="print JSON")
    add_device(parser)
    add_plugins(parser)


def run(options: argparse.Namespace) -> None:
    from herd.core.plugins import load_plugins

    load_plugins(options.plugins, "--plugins")
    if (options.checkpoint / "config.json").exists() and not (options.checkpoint / "artifact.json").exists():
        _check_task_names(options.tasks)  # before the model is read; a run may know tasks that nobody else does
    from herd.evals.answers import AnswerStore
    from herd.evals.harness import Score
    from herd.evals.stages import evaluate_folder
    from herd.report.answers import write_answers_page
    from herd.run.progress import StatusLine
    from herd.serve.folders import model_in, tasks_named

    folder = model_in(options.checkpoint)
    uses = tasks_named(options.tasks, folder)
    rows = {}
    lines: list[StatusLine] = []

    def begin(name: str) -> StatusLine:
        lines.append(StatusLine(name))
        print(f"{name}: started", file=sys.stderr, flush=True)
        return lines[-1]

    def report(name: str, score: Score) -> None:
        lines[-1].clear()
        # What has no interval has none in JSON, which has no word for infinity.
        rows[name] = {field: _finite(value) for field, value in asdict(score.result()).items()}
        if not options.json:
            print(f"{name:20} {score}", flush=True)

    store = AnswerStore(options.out) if options.out is not None else None
    with store.sole_writer() if store is not None else nullcontext():
        evaluate_folder(
            folder, uses, report, device=options.device, dtype=options.dtype, progress=begin, store=store,
            limit=options.limit or 0,
        )  # fmt: skip
        if store is not None:
            page = write_answers_page(store.folder)
            print(f"answers: {store.folder}, page: {page}", file=sys.stderr, flush=True)
    if options.json:
        print(json.dumps({"model": str(folder), "tasks": rows}, indent=1))


def _finite(value: object) -> object:
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _check_task_names(texts: Sequence[str]) -> None:
    """Raises SettingsError for a task that nobody knows."""
    from herd.core.settings import parse_yaml
    from herd.evals.tasks import tasks

    for text in texts:
        value = parse_yaml(text, where=f"task {text!r}")
        name = next(iter(value)) if isinstance(value, dict) and len(value) == 1 else value
        if isinstance(name, str):  # all else is told where settings are read
            tasks.get(name)


COMMAND = Command("eval", "measure a model", add_options, run)
