"""`herd show`: an artifact, or rows as a model would read them."""

from __future__ import annotations

import argparse
from pathlib import Path

from herd.commands.arguments import amount
from herd.commands.command import Command
from herd.commands.finetuning import shown_rows


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "artifact", help="folder of an artifact, or of a run to list what it holds; with --mask rows at any address too"
    )
    parser.add_argument("--verify", action="store_true", help="read every file again and compare")
    parser.add_argument("--json", action="store_true", help="metadata with typed results as one line of JSON")
    parser.add_argument(
        "--mask", type=Path, metavar="MODEL", help="rows of conversations or preferences as MODEL would read them"
    )
    parser.add_argument("--tests", type=Path, help="with --mask: rows whose questions no row may hold")
    parser.add_argument("--rows", type=amount, default=3, help="with --mask: how many are shown (default: %(default)s)")


def run(options: argparse.Namespace) -> None:
    if options.mask is not None:
        from herd.serve.folders import model_in

        shown_rows(model_in(options.mask, reward=True), (options.artifact,), options.rows, tests=options.tests)
        return
    if options.json:
        from herd.core.terminal import json_line
        from herd.serve.metadata import as_data

        print(json_line(as_data(Path(options.artifact), verify=options.verify)))
        return
    from herd.serve.folders import describe_path

    for line in describe_path(Path(options.artifact), verify=options.verify):
        print(line)


COMMAND = Command("show", "show an artifact: what it was made of, its settings and results", add_options, run)
