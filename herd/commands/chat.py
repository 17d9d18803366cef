"""`herd chat`: talk to a model."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from herd.commands.arguments import add_device, bounded_number
from herd.commands.command import Command
from herd.core.terminal import read_utf8


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("checkpoint", type=Path, help="folder of a model, or of a run for its newest")
    parser.add_argument(
        "--temperature", type=bounded_number(0.0), help="0 always takes the likeliest token (default: the model's own)"
    )
    parser.add_argument("--seed", type=int, default=0)
    add_device(parser)


def run(options: argparse.Namespace) -> None:
    from herd.generate.engine import SamplingParams
    from herd.serve.chat import MAX_ANSWER_TOKENS, ChatSession, talk
    from herd.serve.folders import model_in, toolbox_of
    from herd.tokens.generation_config import GenerationConfig

    folder = model_in(options.checkpoint)
    own = GenerationConfig.read(folder)
    sampling = SamplingParams.from_generation_config(
        own, max_tokens=MAX_ANSWER_TOKENS, temperature=options.temperature, seed=options.seed
    )
    conversation = ChatSession(folder, sampling, toolbox_of(folder), device=options.device, dtype=options.dtype)
    read_utf8(sys.stdin)
    typing = sys.stdin.isatty()
    if not conversation.is_chat:
        print(
            f"{folder} is a base model, never taught to answer: every line that you type is continued as text",
            file=sys.stderr,
        )
    if typing:
        print(f"{folder}\n/clear starts anew, /exit or Ctrl-D ends")
        for name, value in own.ignored_fields.items():
            print(f"{name} {value} of the model's own settings is not followed")
    talk(conversation, lambda: input("> " if typing else ""), lambda piece: print(piece, end="", flush=True))


COMMAND = Command("chat", "talk to a model in the terminal", add_options, run)
