"""What `herd threshold`, `herd metrics` and `herd back-test` share: a table of what models scored, and answers."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar

_SaidT = TypeVar("_SaidT")


def add_table_options(parser: argparse.ArgumentParser, table: str) -> None:
    """table: what its lines hold, and which run has the same."""
    parser.add_argument("table", type=Path, help=table)
    parser.add_argument("--json", action="store_true", help="print JSON")


def print_by_task(
    found: Mapping[str, _SaidT | str],
    options: argparse.Namespace,
    *,
    to_row: Callable[[_SaidT], Mapping[str, Any]],
    lines: Callable[[str, _SaidT], Iterable[str]],
    refused: str = "nothing can be said",
) -> None:
    """What was found by task (`herd.scaling.tables.by_task`), as JSON or in lines. refused: before the reason, where
    nothing was found."""
    from herd.core.terminal import json_line

    if options.json:
        rows = {task: {"refusal": row} if isinstance(row, str) else to_row(row) for task, row in found.items()}
        print(json_line(rows))
        return
    for task, row in found.items():
        for line in [f"{task}: {refused}, {row}"] if isinstance(row, str) else lines(task, row):
            print(line)
