"""`herd metrics`: which metric of a task follows compute best."""

from __future__ import annotations

import argparse
from pathlib import Path

from herd.commands.command import Command


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "table",
        type=Path,
        help="a CSV with a line for every choice (task,flops,question,choice,log_p,right), or a run whose ladder was "
        "asked questions with choices",
    )
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(options: argparse.Namespace) -> None:
    from herd.core.errors import DataError
    from herd.core.terminal import json_line
    from herd.scaling.tables import choices_in, metric_correlations

    rows: dict[str, dict[str, float] | dict[str, str]] = {}
    tables = choices_in(options.table)
    for task, models in tables.items():
        try:
            rows[task] = metric_correlations(models)
        except DataError as fault:
            rows[task] = {"refusal": str(fault)}
    if options.json:
        print(json_line(rows))
        return
    for task, row in rows.items():
        if "refusal" in row:
            print(f"{task}: nothing can be said, {row['refusal']}")
            continue
        models = tables[task]
        print(
            f"{task}: rank correlation with compute over {len(models)} models, mean of {len(models[0].right)} questions"
        )
        for metric, correlation in row.items():
            print(f"  {metric:12}{correlation:+.3f}")


COMMAND = Command("metrics", "say which metric of a task follows compute best", add_options, run)
