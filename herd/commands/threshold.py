"""`herd threshold`: whether a task begins at a loss."""

from __future__ import annotations

import argparse
from pathlib import Path

from herd.commands.command import Command


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "table",
        type=Path,
        help="a CSV of what models scored (task,flops,nll,accuracy,questions,chance, and loss where it is known), or a "
        "run whose ladder was asked tasks",
    )
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(options: argparse.Namespace) -> None:
    from dataclasses import asdict

    from herd.core.terminal import json_line
    from herd.scaling.tables import results_in, threshold_lines, thresholds

    found = thresholds(results_in(options.table))
    if options.json:
        print(
            json_line({task: {"refusal": row} if isinstance(row, str) else asdict(row) for task, row in found.items()})
        )
        return
    for line in threshold_lines(found):
        print(line)


COMMAND = Command("threshold", "say whether a task begins at a loss, from what models scored", add_options, run)
