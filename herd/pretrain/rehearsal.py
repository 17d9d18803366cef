"""Stages of pre-training, cut short and on made-up text, in processes of their own: what the whole of them will take on
this machine."""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import os
import statistics
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from herd.core.artifacts import Checkpoint, Tokenizer, Tokens
from herd.core.errors import HerdError
from herd.core.places import LocalPlace, no_semaphores
from herd.core.processes import Meter
from herd.core.settings import dump
from herd.core.stage import Stage, Work
from herd.model.devices import best_device
from herd.model.sizes import Shape
from herd.pretrain.anneal import AnnealSettings, anneal
from herd.pretrain.initial import PretrainSettings, pretrain
from herd.pretrain.long_context import LengthSettings, extend_context
from herd.tokens import bpe
from herd.tokens.shards import SPLITS, ShardWriter, id_type, write_index
from herd.tokens.tokenizer import CONTROL_TOKENS, TextTokenizer
from herd.train.log import METRICS, WARM, read_steps
from herd.train.schedule import BatchPhase, BatchRamp

Settings = PretrainSettings | LengthSettings | AnnealSettings
_STAGES: dict[type, Stage[..., Any]] = {
    PretrainSettings: pretrain,
    LengthSettings: extend_context,
    AnnealSettings: anneal,
}
_CHECKS = 2  # so that steps after a test are tried too: what it leaves behind is not theirs, and is held all the same
_SECONDS, _SPEED = 4.0, 1e11  # for how long steps are tried, where a core does so many FLOPs a second
_LEAST, _MOST = 6, 96  # what steps hold grows for some thirty of them, while free memory falls to pieces
_TOKENS, _HELD_OUT = 300_000, 8_192  # of made-up text: in all, or one batch if that is more; of each source
_PARAGRAPH = 128  # tokens of a document where rows are short; it is half a row otherwise
_PAIRS, _WORDS, _SENTENCES = 512, 500, 400


@dataclass(frozen=True)
class Rehearsal:
    """A stage to be tried. shape: of its model. before: the one whose model it goes on from."""

    settings: Settings
    shape: Shape
    before: Rehearsal | None = None

    @property
    def stage(self) -> Stage[..., Any]:
        return _STAGES[type(self.settings)]

    @property
    def batches(self) -> dict[int, int]:
        """How many steps take so many rows; of a stage that may end early, all it may take."""
        return _ramp(self.settings).batches

    @property
    def checks(self) -> int:
        """Tests on the way, at most."""
        return self.settings.checks if isinstance(self.settings, LengthSettings) else 0

    @property
    def cut(self) -> Settings:
        """Its settings for a few steps of each batch; runs that differ in nothing that costs time have the same."""
        s, length = self.settings, self.settings.length
        count = {rows: self._count(rows) for rows in self.batches}
        if isinstance(s, PretrainSettings):
            ends = np.cumsum([rows * steps for rows, steps in count.items()])
            batch = [
                BatchPhase(until=float(end / ends[-1]), batch_tokens=rows * length)
                for rows, end in zip(count, ends, strict=True)
            ]
            return replace(s, tokens=int(ends[-1]) * length, batch=tuple(batch), lr=1e-4, seed=0)
        (steps,) = count.values()
        if isinstance(s, AnnealSettings):
            return replace(s, tokens=steps * s.batch_tokens, seed=0)
        # The switch is made whatever the model finds, and no test ends the stage.
        check = -(-steps // _CHECKS) * s.batch_tokens
        return replace(s, check_tokens=check, checks=_CHECKS, gate=0.0, until=1.0, recovered=1.0, seed=0)

    def _count(self, rows: int) -> int:
        flops = rows * self.settings.length * self.shape.training_flops(self.settings.length)
        return WARM + min(_MOST, max(_LEAST, round(_SECONDS * _SPEED / flops)))

    @property
    def key(self) -> str:
        told = json.dumps([self.stage.name, dump(self.cut), self.shape.vocabulary, self.before and self.before.key])
        return f"{self.stage.name}-{hashlib.sha256(told.encode()).hexdigest()[:12]}"

    @property
    def sources(self) -> set[str]:
        """Of the text it reads."""
        s = self.settings
        if isinstance(s, PretrainSettings):
            return {name for phase in s.mix for name in phase.shares}
        return {*s.shares, *(s.text_sources if isinstance(s, LengthSettings) else ())}


def _ramp(s: Settings) -> BatchRamp:
    if isinstance(s, PretrainSettings):
        return BatchRamp(s.batch, s.tokens, s.length)
    if isinstance(s, AnnealSettings):
        tokens = s.tokens
    else:
        tokens = s.checks * max(1, s.check_tokens // s.batch_tokens) * s.batch_tokens
    return BatchRamp((BatchPhase(until=1.0, batch_tokens=s.batch_tokens),), tokens, s.length)


@dataclass(frozen=True)
class Pace:
    """What a stage takes. seconds, core_seconds: of a step, by the clock and of processors. held_bytes: what model,
    optimizer and steps hold. copied_bytes: what a checkpoint holds besides while it is written. peak_bytes: the most
    the whole process had, Python and PyTorch included. besides: core-seconds of all that is no step: beginning, tests
    on the way, measuring and writing."""

    seconds: float
    core_seconds: float
    held_bytes: float
    copied_bytes: float = 0.0
    peak_bytes: float = 0.0
    besides: float = 0.0


@dataclass(frozen=True)
class Tried:
    """What came of a rehearsal. by_rows: seconds and core-seconds of a step, by the rows of its batch."""

    by_rows: dict[int, tuple[float, float]]
    rest: Pace

    def whole(self, asked: Rehearsal) -> Pace:
        """Of all that the stage may take, as long as it is."""
        total = max(1, sum(asked.batches.values()))
        seconds, worked = (
            sum(self.by_rows[rows][n] * count for rows, count in asked.batches.items()) / total for n in (0, 1)
        )
        # A test before the switch, one on the way each time, and the measuring at the end are of a kind.
        tests = (2 + asked.checks) / (2 + _CHECKS) if asked.checks else 1.0
        return replace(self.rest, seconds=seconds, core_seconds=worked, besides=tests * self.rest.besides)


def rehearse(asked: Sequence[Rehearsal], folder: Path, *, threads: int = 1, at_once: int = 1) -> list[Tried]:
    """What each takes on so many threads, so many side by side, in the order asked; those they go on from must be
    among them.

    folder: where text and models lie meanwhile; calls may share one.
    """
    # As in a run's workers; read when torch is first imported, which is in those processes.
    os.environ.update(OMP_NUM_THREADS="1", MKL_NUM_THREADS="1", TOKENIZERS_PARALLELISM="false")
    largest = max((rows * one.settings.length for one in asked for rows in one.batches), default=0)
    made = _MadeUp(folder / "text", sorted(set[str]().union(*(one.sources for one in asked))), max(_TOKENS, largest))
    todo = {one.key: one for one in asked}
    found: dict[str, Tried] = {}
    if why := no_semaphores():
        raise HerdError(f"a rehearsal wants processes of its own, and {why}")
    # Begun anew as a run's workers are: what a fork has in common with its parent would not count as its own.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(at_once, mp_context=context, max_tasks_per_child=1) as pool:
        while todo:
            wave = [one for one in todo.values() if one.before is None or one.before.key in found]
            text = [made.folders(one.shape.vocabulary, one.settings.length) for one in wave]
            here = [folder / f"{threads}"] * len(wave)
            found.update(
                zip((one.key for one in wave), pool.map(_tried, wave, here, text, [threads] * len(wave)), strict=True)
            )
            for one in wave:
                del todo[one.key]
    return [found[one.key] for one in asked]


def _tried(asked: Rehearsal, folder: Path, text: tuple[Path, Path], threads: int) -> Tried:
    """Measured here and now, on a CPU or on the GPU there is."""
    meter = Meter()
    out, scratch = folder / asked.key, folder / f"{asked.key}.scratch"
    for one in (out, scratch):
        one.mkdir(parents=True, exist_ok=True)
    inputs: dict[str, Any] = {"tokens": Tokens(text[0])}
    if asked.before is None:
        inputs["tokenizer"] = Tokenizer(text[1])
    else:
        inputs["model"] = Checkpoint(folder / asked.before.key)
    asked.stage.run(Work(out, scratch, LocalPlace(lambda: threads)), inputs, {"settings": dump(asked.cut)})
    cost, taken = meter.read(), read_steps(out / METRICS)
    by_rows = {
        rows: (statistics.median(one.seconds for one in some), statistics.median(one.core_seconds for one in some))
        for rows, some in ((rows, taken[first + WARM : last]) for rows, first, last in _runs(asked))
    }
    copied = 12 * asked.shape.weights if best_device().type == "cpu" else 0  # weights and both moments in fp32
    besides = cost.cpu_seconds - sum(one.core_seconds for one in taken)
    return Tried(by_rows, Pace(0.0, 0.0, max(one.held_bytes for one in taken), copied, cost.peak_bytes, besides))


def _runs(asked: Rehearsal) -> list[tuple[int, int, int]]:
    """Rows of a batch, and the first step with so many and the one after the last."""
    found, first = [], 0
    for rows, steps in _ramp(asked.cut).batches.items():
        found.append((rows, first, first + steps))
        first += steps
    return found


# ---- made-up text ----


@dataclass
class _MadeUp:
    """Text of sentences from made-up words, as long documents as rows call for. tokens: in all, of all sources."""

    folder: Path
    sources: Sequence[str]
    tokens: int

    def folders(self, vocabulary: int, length: int) -> tuple[Path, Path]:
        """Of the tokens and of the tokenizer; made when first asked for."""
        folder = self.folder / f"{vocabulary} {length}"
        tokens, tokenizer = folder / "tokens", folder / "tokenizer"
        if not folder.exists():
            for one in (tokens, tokenizer):
                one.mkdir(parents=True)
            chance = np.random.default_rng(0)
            sentences = _sentences(chance)
            pairs = min(_PAIRS, vocabulary - len(CONTROL_TOKENS))
            text = bpe.learn(iter(sentences), pairs=pairs, digits_together=True)
            text.save(tokenizer, context=0)
            self._write(tokens, text, sentences, vocabulary, length, chance)
        return tokens, tokenizer

    def _write(
        self, folder: Path, text: TextTokenizer, sentences: list[str], vocabulary: int, length: int,
        chance: np.random.Generator,
    ) -> None:  # fmt: skip
        ids = [text.encode(f" {sentence}") for sentence in sentences]
        mean = max(_PARAGRAPH, length // 2)
        wanted = {"train": max(-(-self.tokens // len(self.sources)), 2 * length), "heldout": _HELD_OUT + length}
        index: dict[str, dict[str, dict[str, int]]] = {}
        for source in self.sources:
            index[source] = {}
            for split in SPLITS:
                writer = ShardWriter(folder, f"{source}.{split}", id_type(vocabulary))
                while writer.tokens < wanted[split]:
                    size = int(np.clip(chance.exponential(mean), 8, 8 * mean))
                    document: list[int] = []
                    while len(document) < size:
                        document += ids[chance.integers(len(ids))]
                    writer.add([text.begin, *document, text.end], 4 * len(document))
                index[source][split] = writer.close()
        write_index(folder, vocabulary, text.pad, index)


def _sentences(chance: np.random.Generator) -> list[str]:
    letters = np.array(list("abcdefghijklmnopqrstuvwxyz"))
    words = ["".join(chance.choice(letters, chance.integers(2, 9))) for _ in range(_WORDS)]
    return [" ".join(chance.choice(words, chance.integers(8, 15))).capitalize() + "." for _ in range(_SENTENCES)]
