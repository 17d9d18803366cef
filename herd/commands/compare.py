"""`herd compare`: two models side by side."""

from __future__ import annotations

import argparse
from pathlib import Path

from herd.commands.arguments import bounded_number
from herd.commands.command import Command


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("checkpoints", nargs=2, type=Path, help="folders of models, or of runs for their newest")
    parser.add_argument("--out", type=Path, default=Path("preferences.jsonl"), help="added to (default: %(default)s)")
    parser.add_argument(
        "--port", type=bounded_number(0, 65_535), default=8765, help="0 takes a free one (default: %(default)s)"
    )
    parser.add_argument("--temperature", type=bounded_number(0.0), default=0.7, help="of both (default: %(default)s)")


def run(options: argparse.Namespace) -> None:
    from herd.serve.compare import serve_comparison
    from herd.serve.folders import model_in

    folders = [model_in(path) for path in options.checkpoints]
    serve_comparison(folders, options.out, port=options.port, temperature=options.temperature)


COMMAND = Command(
    "compare", "talk to two models side by side in a browser, and keep which answer is better", add_options, run
)
