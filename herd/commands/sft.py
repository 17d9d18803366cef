"""`herd sft`: a model taught by dialogues."""

from __future__ import annotations

import argparse

from herd.commands.arguments import amount
from herd.commands.command import Command
from herd.commands.finetuning import add_finetuning_options, add_tasks, finetune_rows, run_folder


def add_options(parser: argparse.ArgumentParser) -> None:
    add_finetuning_options(parser, "files of conversations: JSON lines, JSON, CSV or Parquet (docs/alignment.md)")
    parser.add_argument("--length", type=amount, help="tokens in a row; longer conversations are left out")
    add_tasks(parser)


def run(options: argparse.Namespace) -> None:
    finetune_rows(options, "sft", "dialogues", {"length": options.length} if options.length else {})


COMMAND = Command("sft", "teach a model by dialogues of your own", add_options, run, run_folder)
