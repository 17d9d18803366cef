"""`herd threshold`: whether a task begins at a loss."""

from __future__ import annotations

import argparse

from herd.commands.command import Command
from herd.commands.task_tables import add_table_options, print_by_task


def add_options(parser: argparse.ArgumentParser) -> None:
    add_table_options(
        parser,
        "a CSV of what models scored (task,flops,nll,accuracy,questions,chance, and loss where it is known), or a run "
        "whose ladder was asked tasks",
    )


def run(options: argparse.Namespace) -> None:
    from dataclasses import asdict

    from herd.scaling.tables import by_task, results_in, task_threshold, threshold_line

    print_by_task(
        by_task(results_in(options.table), task_threshold),
        options,
        to_row=asdict,
        lines=lambda task, row: [f"{task}: {threshold_line(row)}"],
    )


COMMAND = Command("threshold", "say whether a task begins at a loss, from what models scored", add_options, run)
