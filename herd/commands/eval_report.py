"""`herd eval report`: the page of an evaluation's answers."""

from __future__ import annotations

import argparse
from pathlib import Path

from herd.commands.command import Command


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("answers", type=Path, help="folder of answers, as herd eval --out writes it")


def run(options: argparse.Namespace) -> None:
    from herd.report.answers import write_answers_page

    print(write_answers_page(options.answers))


COMMAND = Command("eval report", "write the page of an evaluation's answers again", add_options, run)
