"""`herd reward`: a model that scores answers."""

from __future__ import annotations

import argparse

from herd.commands.command import Command
from herd.commands.finetuning import add_finetuning_options, finetune_rows, run_folder


def add_options(parser: argparse.ArgumentParser) -> None:
    add_finetuning_options(parser, "files of pairs: a prompt with a chosen and a rejected answer (docs/alignment.md)")


def run(options: argparse.Namespace) -> None:
    finetune_rows(options, "reward", "preferences", {})


COMMAND = Command("reward", "train a model that scores answers, on pairs of your own", add_options, run, run_folder)
