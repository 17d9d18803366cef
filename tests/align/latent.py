"""Preferences with a planted cause: people whose reward is linear in what an answer holds, which nobody told the model.

An answer's features are how often each of 24 words stands in it, and how many of its words are of the kind that was
asked for. The reward is a fixed, drawn weight times each of them, summed; whoever ranks does it without error, so that
the ceiling is 100 %.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import numpy as np
import torch

from herd.align.sft import SftSettings, sft
from herd.core.artifacts import Checkpoint, Dialogues, Preferences
from herd.core.records import Conversation, Message, Preference
from herd.core.stage import Work
from herd.core.storage import write_conversations, write_preferences
from herd.model.sizes import Shape
from herd.model.transformer import Transformer, initialize
from herd.run.executors import LocalExecutor
from herd.tokens import bpe
from herd.tokens.tokenizer import TextTokenizer
from herd.train.checkpoint import write_checkpoint

KINDS = {
    "tools": "hammer chisel wrench pliers ladder shovel".split(),
    "fruits": "apple cherry melon quince papaya lemon".split(),
    "beasts": "badger heron walrus lizard beetle camel".split(),
    "rooms": "kitchen cellar attic pantry chapel garage".split(),
}
WORDS = [word for words in KINDS.values() for word in words]
SHAPE = Shape(vocab_size=256, dim=64, n_layers=2, n_heads=4, n_kv_heads=2, ffn_dim=128, max_seq_len=128)
_ON_TOPIC = 1.0  # what a word of the kind that was asked for is worth beside its own


@cache
def tokenizer() -> TextTokenizer:
    """Every word is one token or two."""
    lines = [f" {word}" * 4 for word in WORDS] + [f"Name {kind} number 1 user assistant system" for kind in KINDS]
    return bpe.train_bpe(iter(lines * 20), vocab_size=500, digits_together=True)


@dataclass(frozen=True)
class Latent:
    """The planted reward. seed: of its weights."""

    seed: int = 0

    @property
    def weights(self) -> dict[str, float]:
        drawn = np.random.default_rng(self.seed).normal(size=len(WORDS))
        return dict(zip(WORDS, drawn.tolist(), strict=True))

    def reward(self, asked: str, answer: str) -> float:
        weights, kind = self.weights, asked.split()[1]
        said = answer.split()
        worth = sum(weights[word] + _ON_TOPIC * (word in KINDS[kind]) for word in said if word in weights)
        return worth / max(1, len(said))

    def reward_of(self, talk: Conversation) -> float:
        return self.reward(talk.messages[0].content, talk.last.content)


def prompt(chance: random.Random, number: int) -> Conversation:
    return Conversation((Message("user", f"Name {chance.choice(sorted(KINDS))}"),), id=f"{number}", source="latent")


def answer(chance: random.Random, asked: Conversation) -> str:
    """Four to ten words, half of them of the kind that was asked for, the others any."""
    own = KINDS[asked.last.content.split()[1]]
    return " ".join(chance.choice(own if chance.random() < 0.5 else WORDS) for _ in range(chance.randint(4, 10)))


def ranked(latent: Latent, count: int, *, seed: int, three: bool = False) -> list[Preference]:
    """Prompts with two answers, ranked without error, or with three: edited > chosen > rejected."""
    chance = random.Random(seed)
    found: list[Preference] = []
    while len(found) < count:
        asked = prompt(chance, len(found))
        drawn, words = {answer(chance, asked) for _ in range(3)}, asked.last.content
        said = sorted(sorted(drawn), key=lambda text: -latent.reward(words, text))
        if len(said) == 3:
            two = sorted(chance.sample(said, 2), key=said.index)
            sides = [(Message("assistant", text),) for text in (said if three else two)]
            edited = sides[0] if three else ()
            found.append(Preference(prompt=asked, edited=edited, chosen=sides[-2], rejected=sides[-1]))
    return found


def work(folder: Path) -> Work:
    for name in ("out", "scratch"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    return Work(folder / "out", folder / "scratch", LocalExecutor())


def kept(folder: Path, given: Sequence[Preference]) -> Preferences:
    folder.mkdir(parents=True)
    write_preferences(folder, given)
    return Preferences(folder)


def shown(count: int, *, seed: int) -> list[Conversation]:
    """What people write, good and bad."""
    chance = random.Random(seed)
    asked = [prompt(chance, number) for number in range(count)]
    return [one.with_messages(Message("assistant", answer(chance, one))) for one in asked]


def blank(folder: Path, seed: int = 0) -> Checkpoint:
    """A model that knows nothing yet."""
    text = tokenizer()
    made = Transformer(replace(SHAPE, vocab_size=text.vocab_size))
    initialize(made, std=0.05, layers=SHAPE.n_layers, generator=torch.Generator().manual_seed(seed))
    folder.mkdir(parents=True)
    write_checkpoint(folder, made, text, kind="base")
    return Checkpoint(folder)


def writer(folder: Path, *, seed: int = 0, count: int = 3000) -> Checkpoint:
    """A model that writes as people do, better answers no more often than worse: what reward models start from."""
    (folder / "shown").mkdir(parents=True)
    write_conversations(folder / "shown", shown(count, seed=1000 + seed))
    settings = SftSettings(length=128, batch_size=16, epochs=3, lr=3e-3, seed=seed)
    return sft.body(work(folder), blank(folder / "blank", seed), (Dialogues(folder / "shown"),), settings=settings)
