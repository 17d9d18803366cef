"""`herd back-test`: whether the smaller models foretell the largest."""

from __future__ import annotations

import argparse

from herd.commands.command import Command
from herd.commands.task_tables import add_table_options, print_by_task


def add_options(parser: argparse.ArgumentParser) -> None:
    add_table_options(
        parser,
        "a CSV of what models scored (task,flops,nll,accuracy,questions,chance), or a run whose ladder was asked tasks",
    )


def run(options: argparse.Namespace) -> None:
    from herd.scaling.downstream import back_test, back_test_line
    from herd.scaling.tables import by_task, results_in

    print_by_task(
        by_task(results_in(options.table), lambda table: back_test(table[1], chance=table[0])),
        options,
        to_row=lambda test: {
            "flops": test.forecast.flops,
            "orders": test.forecast.orders,
            "predicted": test.forecast.accuracy,
            "interval": test.forecast.accuracy_interval,
            "measured": test.measured,
            "inside": test.inside,
        },
        lines=lambda task, test: [f"{task}: {back_test_line(test)}"],
        refused="no back-test",
    )


COMMAND = Command("back-test", "predict the largest of several models from the others, and compare", add_options, run)
