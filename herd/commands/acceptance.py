"""`herd acceptance`: the acceptance table."""

from __future__ import annotations

import argparse
import sys

from herd.commands.command import Command


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--markdown", action="store_true", help="print docs/recipe.md; runs no checks")
    parser.add_argument("--slow", action="store_true", help="run slow checks too")
    parser.add_argument(
        "--record", action="store_true", help="run slow checks and keep what they measure in the checkout"
    )
    parser.add_argument("--row", type=int, action="append", metavar="N", help="only this row")


def run(options: argparse.Namespace) -> int:
    from herd import acceptance

    if options.markdown:
        print(acceptance.markdown(), end="")
        return 0

    def progress(line: str) -> None:
        print(line, file=sys.stderr, flush=True)

    slow = options.slow or options.record
    results = acceptance.check_acceptance(options.row or [], slow=slow, keep=options.record, say=progress)
    print(acceptance.format_json(results) if options.json else acceptance.format_text(results))
    return int(any(entry.state == "does not hold" for entry in results))


COMMAND = Command("acceptance", "check every system of the recipe against its bar", add_options, run)
