"""What one rank of a test does: fine-tunes the same models as one process does, and leaves what came out.

python -m tests.align.ranks FOLDER NAME...: a name is sft, dpo or reward, with `-lora` by adapters alone, with `-partly`
by the weights of PARTLY alone, with `-muon` by Muon, with `-replay` on documents too, with `-held` measured on held-out
examples by epoch and stopped early.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from herd.align.dpo import DpoSettings, dpo
from herd.align.losses import losses
from herd.align.reward import RewardSettings, train_reward
from herd.align.sft import SftSettings, sft
from herd.core.artifacts import Checkpoint, Dialogues, Preferences, Tokens
from herd.core.results import results
from herd.core.stage import Work
from herd.core.storage import write_conversations, write_preferences
from herd.model.adapters import LoraSettings
from herd.model.transformer import Transformer
from herd.run.executors import LocalExecutor
from herd.run.ranks import Rank
from herd.tokens.shards import SPLITS, ShardWriter, id_dtype, write_index
from herd.train.checkpoint import write_checkpoint
from herd.train.layout import ParallelLayout
from herd.train.log import METRICS_FILE, read_steps
from herd.train.optimizer import OptimizerSettings
from herd.train.replay import ReplaySettings
from tests.model.test_transformer import SMALL, model
from tests.tokens.test_chat import CALL, HELLO, TOKENIZER
from tests.train.test_preferences import preference

SHAPE = replace(SMALL, vocab_size=TOKENIZER.vocab_size, max_seq_len=256)
LORA = LoraSettings(rank=4)
REPLAY = ReplaySettings(share=0.4, mixture_weights={"a": 0.25, "b": 0.75})
PARTLY = (r"^model\.layers\.1\.mlp", r"^model\.norm")


def inputs(root: Path) -> None:
    """A model, dialogues and ranked answers, as stages read them."""
    for name in ("base", "dialogues", "ranked", "tokens", "held_dialogues", "held_pairs"):
        (root / name).mkdir()
    write_checkpoint(root / "base", model(SHAPE), TOKENIZER, kind="chat")
    write_conversations(root / "dialogues", [HELLO, CALL, HELLO] * 6)
    write_preferences(root / "ranked", [replace(preference(number), strength="better") for number in range(16)])
    write_conversations(root / "held_dialogues", [CALL, HELLO, CALL])
    write_preferences(root / "held_pairs", [replace(preference(number), strength="better") for number in range(20, 27)])
    pack_documents(root / "tokens")


def pack_documents(folder: Path) -> None:
    """Texts of two sources, of very different lengths, as `pack` writes them."""
    index: dict[str, dict[str, dict[str, int]]] = {}
    for name, sentences in (("a", 1), ("b", 12)):
        index[name] = {}
        for split in SPLITS:
            writer = ShardWriter(folder, f"{name}.{split}", id_dtype(TOKENIZER.vocab_size))
            for number in range(20):
                ids = TOKENIZER.encode(f"The {split} {name} cat sat on mat {number}. " * sentences)
                writer.add([TOKENIZER.bos_id, *ids, TOKENIZER.eos_id], 200)
            index[name][split] = writer.close()
    write_index(folder, TOKENIZER.vocab_size, TOKENIZER.pad_id, index, tokenizer=TOKENIZER.fingerprint)


def tuned(root: Path, kind: str, layout: ParallelLayout) -> Work:
    """A stage's work when it is done. kind: what is trained, and how."""
    what, *how = kind.split("-")
    shared: dict[str, Any] = {"lr": 1e-3, "batch_size": 4, "lora": LORA if "lora" in how else None, "layout": layout}
    shared["unfrozen_parameters"] = PARTLY if "partly" in how else ()
    if "muon" in how:
        shared["optimizer"] = OptimizerSettings(name="muon")
    held = "held" in how
    shared["early_stop"] = held
    rank = Rank.from_env().number
    out = root / (f"{kind}-{layout.devices}" if rank == 0 else f"{kind}-{layout.devices}-of-{rank}")
    out.mkdir()
    work = Work(out, root / f"scratch-{kind}-{layout.devices}", LocalExecutor())
    base = Checkpoint(root / "base")
    ranked, pairs = (Preferences(root / "ranked"),), Preferences(root / "held_pairs") if held else None
    run: dict[str, Callable[[], Any]] = {
        "sft": lambda: sft.body(
            work,
            base,
            (Dialogues(root / "dialogues"),),
            Tokens(root / "tokens") if "replay" in how else None,
            Dialogues(root / "held_dialogues") if held else None,
            settings=SftSettings(length=96, epochs=2, replay=REPLAY if "replay" in how else None, **shared),
        ),
        "dpo": lambda: dpo.body(
            work, base, ranked, pairs, settings=DpoSettings(loss=losses.configure("dpo"), **shared)
        ),
        "reward": lambda: train_reward.body(work, base, ranked, pairs, settings=RewardSettings(epochs=1, **shared)),
    }
    work.scratch.mkdir(exist_ok=True)
    run[what]()
    return work


@contextmanager
def counted() -> Iterator[list[int]]:
    """How many tokens models learn from in this process while it lasts."""
    seen, hidden = [0], Transformer.hidden_states

    def reads(self: Transformer, tokens_BT: Tensor, **how: Any) -> Tensor:
        seen[0] += tokens_BT.numel() * torch.is_grad_enabled()
        return hidden(self, tokens_BT, **how)

    Transformer.hidden_states = reads  # type: ignore[method-assign]
    try:
        yield seen
    finally:
        Transformer.hidden_states = hidden  # type: ignore[method-assign]


def main(root: Path, kinds: list[str]) -> None:
    for kind in kinds:
        with counted() as seen:
            work = tuned(root, kind, ParallelLayout(data=Rank.from_env().world_size))
        (root / f"{kind}-tokens-{Rank.from_env().number}.json").write_text(json.dumps(seen[0]), encoding="utf-8")
        if Rank.from_env().number == 0:
            by_step = [step.loss for step in read_steps(work.out / METRICS_FILE)]
            row = {"results": results.to_rows(work.results.values()), "losses": by_step}
            (root / f"{kind}.json").write_text(json.dumps(row), encoding="utf-8")
        dist.barrier()
    dist.destroy_process_group()


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
