"""`herd show`: an artifact, or rows as a model would read them."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from herd.commands.arguments import amount
from herd.commands.command import Command
from herd.core.terminal import colours_of


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "artifact", type=Path, help="folder of an artifact, or of a run to list what it holds; with --mask a file too"
    )
    parser.add_argument("--verify", action="store_true", help="read every file again and compare")
    parser.add_argument("--json", action="store_true", help="cards with typed results as one line of JSON")
    parser.add_argument(
        "--mask", type=Path, metavar="MODEL", help="rows of conversations or preferences as MODEL would read them"
    )
    parser.add_argument("--tests", type=Path, help="with --mask: rows whose questions no row may hold")
    parser.add_argument("--rows", type=amount, default=3, help="with --mask: how many are shown (default: %(default)s)")


def run(options: argparse.Namespace) -> None:
    if options.mask is not None:
        _show_mask(options)
        return
    if options.json:
        from herd.core.terminal import json_line
        from herd.serve.cards import as_data

        print(json_line(as_data(options.artifact, verify=options.verify)))
        return
    from herd.serve.folders import describe

    for line in describe(options.artifact, verify=options.verify):
        print(line)


def _show_mask(options: argparse.Namespace) -> None:
    """Rows as a model would read them, with what is learnt; fails when some must not be trained on."""
    from herd.align.columns import given_in
    from herd.align.contamination import HeldOut
    from herd.align.preflight import examine, found_lines, lines
    from herd.model.config import shape_in
    from herd.serve.folders import model_in
    from herd.tokens.jinja import chat_format
    from herd.tokens.tokenizer import TextTokenizer

    folder, given = model_in(options.mask), given_in(options.artifact)
    text = TextTokenizer.load(folder)
    form, context = chat_format(text), shape_in(folder).context
    for line in lines(given, form, text, rows=options.rows, colour=sys.stdout.isatty()):
        print(line, file=colours_of(sys.stdout))
    tests = HeldOut(given_in(options.tests).conversations) if options.tests is not None else None
    found = examine(given, form, text, context, tests)
    for line in found_lines(given, found):
        print(line)
    found.refuse()


COMMAND = Command("show", "show an artifact: what it was made of, its settings and results", add_options, run)
