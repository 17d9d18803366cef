"""`herd metrics`: which metric of a task follows compute best."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping

from herd.commands.command import Command
from herd.commands.task_tables import add_table_options, print_by_task


def add_options(parser: argparse.ArgumentParser) -> None:
    add_table_options(
        parser,
        "a CSV with a line for every choice (task,flops,question,choice,log_p,right), or a run whose ladder was asked "
        "questions with choices",
    )


def run(options: argparse.Namespace) -> None:
    from herd.scaling.tables import by_task, choices_in, metric_correlations

    tables = choices_in(options.table)

    def lines(task: str, correlations: Mapping[str, float]) -> Iterator[str]:
        models = tables[task]
        over = f"over {len(models)} models, mean of {len(models[0].right)} questions"
        yield f"{task}: rank correlation with compute {over}"
        for metric, correlation in correlations.items():
            yield f"  {metric:12}{correlation:+.3f}"

    print_by_task(by_task(tables, metric_correlations), options, to_row=dict, lines=lines)


COMMAND = Command("metrics", "say which metric of a task follows compute best", add_options, run)
