"""`herd back-test`: whether the smaller models foretell the largest."""

from __future__ import annotations

import argparse
from pathlib import Path

from herd.commands.command import Command


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "table",
        type=Path,
        help="a CSV of what models scored (task,flops,nll,accuracy,questions,chance), or a run whose ladder was asked "
        "tasks",
    )
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(options: argparse.Namespace) -> None:
    from herd.core.terminal import json_line
    from herd.scaling.downstream import back_test_lines, back_tests
    from herd.scaling.tables import results_in

    tests = back_tests(results_in(options.table))
    if not options.json:
        for line in back_test_lines(tests):
            print(line)
        return
    print(
        json_line(
            {
                task: {"refusal": test}
                if isinstance(test, str)
                else {
                    "flops": test.forecast.flops,
                    "orders": test.forecast.orders,
                    "predicted": test.forecast.accuracy,
                    "interval": test.forecast.accuracy_interval,
                    "measured": test.measured,
                    "inside": test.inside,
                }
                for task, test in tests.items()
            }
        )
    )


COMMAND = Command("back-test", "predict the largest of several models from the others, and compare", add_options, run)
