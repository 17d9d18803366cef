"""`herd show`: an artifact, or rows as a model would read them."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from herd.commands.arguments import amount
from herd.commands.command import Command
from herd.core.terminal import colour_stream


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "artifact", type=Path, help="folder of an artifact, or of a run to list what it holds; with --mask a file too"
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
        _show_mask(options)
        return
    if options.json:
        from herd.core.terminal import json_line
        from herd.serve.metadata import as_data

        print(json_line(as_data(options.artifact, verify=options.verify)))
        return
    from herd.serve.folders import describe_path

    for line in describe_path(options.artifact, verify=options.verify):
        print(line)


def _show_mask(options: argparse.Namespace) -> None:
    """Rows as a model would read them, with what is learnt; fails when some must not be trained on."""
    from herd.align.columns import load_rows
    from herd.align.contamination import HeldOutQuestions
    from herd.align.preflight import inspect_rows, preview_lines, report_lines
    from herd.model.config import read_shape
    from herd.serve.folders import model_in
    from herd.tokens.jinja import chat_template_of
    from herd.tokens.tokenizer import TextTokenizer

    folder, data = model_in(options.mask), load_rows(options.artifact)
    text = TextTokenizer.load(folder)
    form, context = chat_template_of(text), read_shape(folder).max_seq_len
    for line in preview_lines(data, form, text, rows=options.rows, colour=sys.stdout.isatty()):
        print(line, file=colour_stream(sys.stdout))
    tests = HeldOutQuestions(load_rows(options.tests).conversations) if options.tests is not None else None
    findings = inspect_rows(data, form, text, context, tests)
    for line in report_lines(data, findings):
        print(line)
    findings.refuse()


COMMAND = Command("show", "show an artifact: what it was made of, its settings and results", add_options, run)
