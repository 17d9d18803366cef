"""`herd dpo`: a model moved towards preferred answers."""

from __future__ import annotations

import argparse

from herd.commands.command import Command
from herd.commands.finetuning import add_finetuning_options, add_tasks, finetune_rows, run_folder

_LR_SHARE = 0.1  # of SFT's: both answers of a pair pull at the same weights, and the reference is not far


def add_options(parser: argparse.ArgumentParser) -> None:
    add_finetuning_options(parser, "files of pairs: a prompt with a chosen and a rejected answer (docs/alignment.md)")
    parser.add_argument(
        "--loss", help="a name of `herd list losses`, or `name: {setting: value}` (default: dpo: {beta: 0.1})"
    )
    add_tasks(parser)


def run(options: argparse.Namespace) -> None:
    from herd.core.settings import parse_yaml

    own = {"loss": parse_yaml(options.loss, where="--loss")} if options.loss else {}
    finetune_rows(options, "dpo", "preferences", own, lr_share=_LR_SHARE)


COMMAND = Command("dpo", "move a model towards preferred answers of your own", add_options, run, run_folder)
