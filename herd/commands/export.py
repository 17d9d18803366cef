"""`herd export`: a model for other programs."""

from __future__ import annotations

import argparse
from pathlib import Path

from herd.commands.arguments import bounded_number
from herd.commands.command import Command


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("checkpoint", type=Path, help="folder of a model, or of a run for its newest")
    parser.add_argument("folder", type=Path, help="new folder to write, or a new file that ends in .gguf")
    parser.add_argument(
        "--weight-format", help="of the weights: float32, bfloat16, float16; in GGUF f32, f16, bf16, q8_0"
    )
    parser.add_argument("--merge", action="store_true", help="adapters become one model with the one they stand beside")
    parser.add_argument(
        "--shard-gb", type=bounded_number(0.001), default=5.0, help="largest file (default: %(default)s)"
    )


def run(options: argparse.Namespace) -> None:
    from herd.serve.folders import export as write
    from herd.serve.folders import model_in

    write(
        model_in(options.checkpoint, reward=True),
        options.folder,
        weight_format=options.weight_format,
        shard_gb=options.shard_gb,
        merge=options.merge,
    )
    if options.folder.suffix == ".gguf":
        print(f"{options.folder}: llama-cli -m {options.folder} reads it")
        return
    from herd.model.weights import is_reward_model

    reward = is_reward_model(options.folder)
    reader = (
        "peft.AutoPeftModelFor" if (options.folder / "adapter_config.json").exists() else "transformers.AutoModelFor"
    )
    reader += "SequenceClassification" if reward else "CausalLM"
    print(f"{options.folder}: {reader}.from_pretrained({str(options.folder)!r}) reads it")
    if reward:
        print("it is a reward model: its one logit is the score of a conversation that the chat template wrote out")


COMMAND = Command("export", "write a model as a Hugging Face folder or a GGUF file", add_options, run)
