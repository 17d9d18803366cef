"""`herd import`: a model of other programs."""

from __future__ import annotations

import argparse
from pathlib import Path

from herd.commands.command import Command


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("source", type=Path, help=".gguf file, or folder with params.json or config.json")
    parser.add_argument("folder", type=Path, help="new folder to write")
    parser.add_argument(
        "--chat-template",
        default="",
        metavar="NAME",
        help="for a model that brings none and is to be taught one: llama3, chatml or a Jinja file",
    )


def run(options: argparse.Namespace) -> None:
    from herd.core.status_line import StatusLine
    from herd.serve.imports import import_model as bring

    line = StatusLine("weights")
    try:
        model = bring(options.source, options.folder, chat_template=options.chat_template, report=line)
    finally:
        line.clear()
    print(
        f"{options.folder}: {model.shape.num_params:,} weights; logits of {model.tokens_checked} tokens agree with the "
        f"original's to {model.difference:.0e} of the largest\nchat: herd chat {options.folder}"
    )


COMMAND = Command("import", "bring in a model: a GGUF file, Meta's folder or Hugging Face's", add_options, run)
