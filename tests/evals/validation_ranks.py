"""What one rank of a test does: fine-tunes a model that is stopped early, over one layout after another.

python -m tests.evals.validation_ranks FOLDER
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch.distributed as dist

from herd.align.sft import SftSettings, sft
from herd.core.artifacts import Checkpoint, Dialogues
from herd.core.records import Conversation, Message
from herd.core.stage import Work
from herd.core.storage import write_conversations
from herd.evals.results import ValidationCurve
from herd.run.executors import LocalExecutor
from herd.run.ranks import Rank
from herd.train.layout import ParallelLayout
from tests.align.ranks import inputs

LAYOUTS = {"data": ParallelLayout(data=2), "tensor": ParallelLayout(tensor=2), "pipeline": ParallelLayout(pipeline=2)}


def say(words: str) -> Conversation:
    return Conversation((Message("user", "Say it."), Message("assistant", words)))


def write_inputs(root: Path) -> None:
    """A model; dialogues that teach one thing, and held-out ones of which half want another."""
    inputs(root)
    for name in ("taught", "held_out"):
        (root / name).mkdir()
    write_conversations(root / "taught", [say("yes yes yes")] * 16)
    write_conversations(root / "held_out", [say("yes yes yes"), say("no no"), say("no, never, no"), say("yes no yes")])


def stop_early(root: Path, name: str, layout: ParallelLayout) -> tuple[Path, ValidationCurve]:
    """The model and its curve, on the rank whose output counts."""
    out, scratch = root / f"{name}-{Rank.from_env().number}", root / f"{name}-scratch"
    out.mkdir()
    scratch.mkdir(exist_ok=True)
    work = Work(out, scratch, LocalExecutor())
    settings = SftSettings(
        length=64,
        batch_size=2,
        epochs=16,
        lr=2e-2,
        warmup=0.0,
        layout=layout,
        eval_steps=1,
        early_stop=True,
        patience=2,
    )
    taught, held_out = (Dialogues(root / "taught"),), Dialogues(root / "held_out")
    sft.body(work, Checkpoint(root / "base"), taught, None, held_out, settings=settings)
    return out, work.results[ValidationCurve]


def main(root: Path) -> None:
    for name, layout in LAYOUTS.items():
        stop_early(root, name, layout)
        dist.barrier()
    dist.destroy_process_group()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
