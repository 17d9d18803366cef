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
from herd.core.settings import dump
from herd.core.stage import Stage, Work
from herd.model.devices import default_device
from herd.model.sizes import Shape
from herd.pretrain.anneal import AnnealSettings, anneal
from herd.pretrain.long_context import LongContextSettings, extend_context
from herd.pretrain.mix import ProportionalMix
from herd.pretrain.pretrain import PretrainSettings, pretrain
from herd.run.executors import LocalExecutor, no_semaphores
from herd.run.processes import Meter
from herd.tokens import bpe
from herd.tokens.shards import SPLITS, ShardWriter, id_dtype, write_index
from herd.tokens.tokenizer import CONTROL_TOKENS, TextTokenizer
from herd.train.log import METRICS_FILE, SETUP_STEPS, read_steps
from herd.train.schedule import BatchPhase, BatchRamp

_ANY_TEXT = ("text",)  # what stands for sources that a mix in proportion does not name
AnyPretrainSettings = PretrainSettings | LongContextSettings | AnnealSettings
_STAGES: dict[type, Stage[..., Any]] = {
    PretrainSettings: pretrain,
    LongContextSettings: extend_context,
    AnnealSettings: anneal,
}
_CHECKS = 2  # so that steps after a test are tried too: what it leaves behind is not theirs, and is held all the same
_SECONDS, _SPEED = 4.0, 1e11  # for how long steps are tried, where a core does so many FLOPs a second
_LEAST, _MOST = 6, 96  # what steps hold grows for some thirty of them, while free memory falls to pieces
_TOKENS, _HELD_OUT = 300_000, 8_192  # of made-up text: in all, or one batch if that is more; of each source
_PARAGRAPH = 128  # tokens of a document where rows are short; it is half a row otherwise
_VOCAB_SIZE, _WORDS, _SENTENCES = 512, 500, 400


@dataclass(frozen=True)
class ProfileJob:
    """A stage to be tried. shape: of its model. before: the one whose model it goes on from."""

    settings: AnyPretrainSettings
    shape: Shape
    before: ProfileJob | None = None

    @property
    def stage(self) -> Stage[..., Any]:
        return _STAGES[type(self.settings)]

    @property
    def ramp(self) -> BatchRamp:
        """Its batches; of a stage that may end early, all it may take."""
        return _ramp(self.settings)

    @property
    def batches(self) -> dict[int, int]:
        """How many steps take so many rows; of a stage that may end early, all it may take."""
        return _ramp(self.settings).batches

    @property
    def checks(self) -> int:
        """Tests on the way, at most."""
        return self.settings.checks if isinstance(self.settings, LongContextSettings) else 0

    @property
    def short_settings(self) -> AnyPretrainSettings:
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
        return replace(s, check_tokens=check, checks=_CHECKS, gate=0.0, until=1.0, short_loss_tolerance=1.0, seed=0)

    def _count(self, rows: int) -> int:
        flops = rows * self.settings.length * self.shape.training_flops(self.settings.length)
        return SETUP_STEPS + min(_MOST, max(_LEAST, round(_SECONDS * _SPEED / flops)))

    @property
    def key(self) -> str:
        description = json.dumps(
            [self.stage.name, dump(self.short_settings), self.shape.vocab_size, self.before and self.before.key]
        )
        return f"{self.stage.name}-{hashlib.sha256(description.encode()).hexdigest()[:12]}"

    @property
    def sources(self) -> set[str]:
        """Of the text it reads."""
        s = self.settings
        if isinstance(s, PretrainSettings):
            if isinstance(s.mix, ProportionalMix):
                return {*_ANY_TEXT, *s.mix.replay_sources}
            return set[str]().union(*(phase.mixture_weights for phase in s.mix))
        weights = _ANY_TEXT if s.mixture_weights is None else s.mixture_weights
        return {*weights, *(s.text_sources if isinstance(s, LongContextSettings) else ())}


def _ramp(s: AnyPretrainSettings) -> BatchRamp:
    if isinstance(s, PretrainSettings):
        assert s.tokens is not None  # a run of so many epochs is not tried
        return BatchRamp(s.batch, s.tokens, s.length)
    if isinstance(s, AnnealSettings):
        tokens = s.tokens
    else:
        tokens = s.checks * max(1, s.check_tokens // s.batch_tokens) * s.batch_tokens
    return BatchRamp((BatchPhase(until=1.0, batch_tokens=s.batch_tokens),), tokens, s.length)


@dataclass(frozen=True)
class StageCost:
    """What a stage takes. seconds, core_seconds: of a step, by the clock and of processors. held_bytes: what model,
    optimizer and steps hold. copied_bytes: what a checkpoint holds besides while it is written. peak_bytes: the most
    the whole process had, Python and PyTorch included. overhead_seconds: core-seconds of all that is no step:
    beginning, tests on the way, measuring and writing."""

    seconds: float
    core_seconds: float
    held_bytes: float
    copied_bytes: float = 0.0
    peak_bytes: float = 0.0
    overhead_seconds: float = 0.0


@dataclass(frozen=True)
class ProfileResult:
    """What came of a rehearsal. by_rows: seconds and core-seconds of a step, by the rows of its batch."""

    by_rows: dict[int, tuple[float, float]]
    base_cost: StageCost

    def full_cost(self, job: ProfileJob) -> StageCost:
        """Of all that the stage may take, as long as it is."""
        total = max(1, sum(job.batches.values()))
        costs = [(*self.by_rows[rows], count) for rows, count in job.batches.items()]
        seconds = sum(step_seconds * count for step_seconds, _, count in costs) / total
        core_seconds = sum(step_core_seconds * count for _, step_core_seconds, count in costs) / total
        # A test before the switch, one on the way each time, and the measuring at the end are of a kind.
        tests = (2 + job.checks) / (2 + _CHECKS) if job.checks else 1.0
        return replace(
            self.base_cost,
            seconds=seconds,
            core_seconds=core_seconds,
            overhead_seconds=tests * self.base_cost.overhead_seconds,
        )


def profile_stages(
    jobs: Sequence[ProfileJob], folder: Path, *, threads: int = 1, at_once: int = 1
) -> list[ProfileResult]:
    """What each takes on so many threads, so many side by side, in the order asked; those they go on from must be
    among them.

    folder: where text and models lie meanwhile; calls may share one.
    """
    # As in a run's workers; read when torch is first imported, which is in those processes.
    os.environ.update(OMP_NUM_THREADS="1", MKL_NUM_THREADS="1", TOKENIZERS_PARALLELISM="false")
    largest_batch = max((max(job.batches, default=0) * job.settings.length for job in jobs), default=0)
    synthetic = _SyntheticText(
        folder / "text", sorted(set[str]().union(*(job.sources for job in jobs))), max(_TOKENS, largest_batch)
    )
    remaining = {job.key: job for job in jobs}
    results: dict[str, ProfileResult] = {}
    if why := no_semaphores():
        raise HerdError(f"a rehearsal wants processes of its own, and {why}")
    # Begun anew as a run's workers are: what a fork has in common with its parent would not count as its own.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(at_once, mp_context=context, max_tasks_per_child=1) as pool:
        while remaining:
            wave = [job for job in remaining.values() if job.before is None or job.before.key in results]
            texts = [synthetic.folders(job.shape.vocab_size, job.settings.length) for job in wave]
            here = [folder / f"{threads}"] * len(wave)
            results.update(
                zip(
                    (job.key for job in wave), pool.map(_profile, wave, here, texts, [threads] * len(wave)), strict=True
                )
            )
            for job in wave:
                del remaining[job.key]
    return [results[job.key] for job in jobs]


def _profile(job: ProfileJob, folder: Path, text: tuple[Path, Path], threads: int) -> ProfileResult:
    """Measured here and now, on a CPU or on the GPU there is."""
    meter = Meter()
    out, scratch = folder / job.key, folder / f"{job.key}.scratch"
    for path in (out, scratch):
        path.mkdir(parents=True, exist_ok=True)
    inputs: dict[str, Any] = {"tokens": Tokens(text[0])}
    if job.before is None:
        inputs["init_from"] = Tokenizer(text[1])
    else:
        name = "init_from" if isinstance(job.settings, PretrainSettings) else "model"
        inputs[name] = Checkpoint(folder / job.before.key)
    job.stage.run(Work(out, scratch, LocalExecutor(lambda: threads)), inputs, {"settings": dump(job.short_settings)})
    cost, steps = meter.read(), read_steps(out / METRICS_FILE)
    by_rows: dict[int, tuple[float, float]] = {}
    for rows, first, last in _runs(job):
        window = steps[first + SETUP_STEPS : last]
        seconds = statistics.median(step.seconds for step in window)
        by_rows[rows] = seconds, statistics.median(step.core_seconds for step in window)
    trainable = job.settings.trainable_params(job.shape)
    # Weights that learn and their moments, in fp32.
    copied = 4 * (trainable.trained + trainable.moments) if default_device().type == "cpu" else 0
    overhead = cost.cpu_seconds - sum(step.core_seconds for step in steps)
    return ProfileResult(
        by_rows, StageCost(0.0, 0.0, max(step.held_bytes for step in steps), copied, cost.peak_bytes, overhead)
    )


def _runs(job: ProfileJob) -> list[tuple[int, int, int]]:
    """Rows of a batch, and the first step with so many and the one after the last."""
    runs, first = [], 0
    for rows, steps in _ramp(job.short_settings).batches.items():
        runs.append((rows, first, first + steps))
        first += steps
    return runs


# ---- made-up text ----


@dataclass
class _SyntheticText:
    """Text of sentences from made-up words, as long documents as rows call for. tokens: in all, of all sources."""

    folder: Path
    sources: Sequence[str]
    tokens: int

    def folders(self, vocabulary: int, length: int) -> tuple[Path, Path]:
        """Of the tokens and of the tokenizer; made when first asked for."""
        folder = self.folder / f"{vocabulary} {length}"
        tokens, tokenizer = folder / "tokens", folder / "tokenizer"
        if not folder.exists():
            for path in (tokens, tokenizer):
                path.mkdir(parents=True)
            rng = np.random.default_rng(0)
            sentences = _sentences(rng)
            vocab_size = min(_VOCAB_SIZE, vocabulary - len(CONTROL_TOKENS))
            text = bpe.train_bpe(iter(sentences), vocab_size=vocab_size, digits_together=True)
            text.save(tokenizer, max_seq_len=0)
            self._write(tokens, text, sentences, vocabulary, length, rng)
        return tokens, tokenizer

    def _write(
        self, folder: Path, tokenizer: TextTokenizer, sentences: list[str], vocabulary: int, length: int,
        rng: np.random.Generator,
    ) -> None:  # fmt: skip
        ids = [tokenizer.encode(f" {sentence}") for sentence in sentences]
        mean = max(_PARAGRAPH, length // 2)
        target_tokens = {"train": max(-(-self.tokens // len(self.sources)), 2 * length), "heldout": _HELD_OUT + length}
        index: dict[str, dict[str, dict[str, int]]] = {}
        for source in self.sources:
            index[source] = {}
            for split in SPLITS:
                writer = ShardWriter(folder, f"{source}.{split}", id_dtype(vocabulary))
                while writer.tokens < target_tokens[split]:
                    size = int(np.clip(rng.exponential(mean), 8, 8 * mean))
                    document: list[int] = []
                    while len(document) < size:
                        document += ids[rng.integers(len(ids))]
                    writer.add([tokenizer.bos_id, *document, tokenizer.eos_id], 4 * len(document))
                index[source][split] = writer.close()
        write_index(folder, vocabulary, tokenizer.pad_id, index)


def _sentences(rng: np.random.Generator) -> list[str]:
    letters = np.array(list("abcdefghijklmnopqrstuvwxyz"))
    words = ["".join(rng.choice(letters, rng.integers(2, 9))) for _ in range(_WORDS)]
    return [" ".join(rng.choice(words, rng.integers(8, 15))).capitalize() + "." for _ in range(_SENTENCES)]
