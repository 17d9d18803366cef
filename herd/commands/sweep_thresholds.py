"""`herd sweep-thresholds`: what other thresholds would drop."""

from __future__ import annotations

import argparse
from pathlib import Path

from herd.commands.arguments import add_plugins
from herd.commands.command import Command


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("corpus", type=Path, help="folder made by herd curate with --set keep_stats=true")
    parser.add_argument("--rules", default="fineweb", help="as for herd curate; its rewriting rules must be the same")
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="change one number")
    add_plugins(parser)


def run(options: argparse.Namespace) -> None:
    from herd.core.plugins import load_plugins
    from herd.corpus.judging import sweep_thresholds
    from herd.corpus.settings import load_rules

    load_plugins(options.plugins, "--plugins")
    settings = load_rules(options.rules, options.set)
    print(f"{'rule':24}{'in':>12}{'dropped':>12}{'alone':>12}")
    for name, row in sweep_thresholds(options.corpus, settings.rules, settings.languages):
        print(f"{name:24}{row['in']:>12,}{row['dropped']:>12,}{row['alone']:>12,}")


COMMAND = Command(
    "sweep-thresholds", "say what other thresholds would drop, without reading text again", add_options, run
)
