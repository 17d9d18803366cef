"""A recipe with every number shrunk by stated rules, so that its wiring, data and gates are tried on one CPU.

docs/scaling.md has the rules as a table; they are ours. A scale is the share of the tokens that is left; weights shrink
by its power 2/3, so that the tokens a weight sees fall more slowly than both, and FLOPs by its power 5/3.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, fields, is_dataclass, replace
from typing import Any, TypeVar

from herd.core.errors import SettingsError
from herd.core.registry import PluginConfig
from herd.evals.stages import EvaluationSettings
from herd.mixing.problem import ProxySettings
from herd.model.sizes import LLAMA_VOCAB_SIZE, Size
from herd.pretrain.anneal import AnnealSettings
from herd.pretrain.long_context import LongContextSettings
from herd.pretrain.pretrain import PretrainSettings
from herd.pretrain.vocabulary import TokenizerSettings
from herd.recipes.align_rounds import AlignRoundsSettings
from herd.recipes.llama3 import Llama3Settings
from herd.recipes.mixing_search import CandidateRun, MixSearchSettings
from herd.recipes.rehearsal_flops import new_sizes, rehearsal_flops, settings_parts
from herd.recipes.rehearsal_text import over_sources, some_files
from herd.scaling.budget import LadderSettings
from herd.scaling.laws import FEWEST_POINTS
from herd.tokens.tokenizer import CONTROL_TOKENS
from herd.train.layout import ParallelLayout
from herd.train.rows import LengthUpsampling
from herd.train.schedule import BatchPhase, BatchRamp
from herd.train.settings import ComputeSettings, FinetuneSettings, TrainingSettings

S = TypeVar("S")
Changes = Mapping[str, Any]

_HEAD_DIM = 32
_STEP = 32  # what widths and lengths are multiples of
_LEAST_LENGTH = 64
_LEAST_VOCAB = 512
_MOST_LR = 1e-2
_LEAST_STEPS = 2  # of a phase of pre-training, of a stage, and of a warm-up
_TUNING_STEPS = 10  # of fine-tuning, at least
_LENGTHS = ("length", "loss_length", "needle_lengths", "longer_than")
_ROWS, _TESTS, _ROUNDS, _SAMPLES, _SEEDS = 100, 20, 2, 4, 2  # at most
_ANSWER_TOKENS = 32  # at least
_HELD_OUT, _HELD_OUT_ROWS = 0.02, 0.1  # at least, of text and of the prompts of rows
_TEXT_BYTES, _SOURCE_BYTES = 8, 4_000_000  # of files that are read: a token of the run, and of a source at least
# FLOPs of training a second of one core: `llama3-8b` at 3e-7 (386 thousand weights) took 177 of them for 9.2e12.
_CORE_FLOPS = 5e10


@dataclass(frozen=True)
class Scale:
    """tokens: the share of them that is left. weights: of the weights; 1 where the model is one that is there already.
    lengths: of every length of a row, what it becomes."""

    tokens: float
    weights: float
    lengths: Mapping[int, int]

    @property
    def batch(self) -> float:
        """The share of a batch's tokens, and of steps, that is left."""
        return self.tokens**0.5

    def count(self, number: int, least: int = 1) -> int:
        """Of steps and rows."""
        return max(least, round(number * self.batch))

    def rows(self, batch_tokens: int, length: int) -> int:
        """Of a batch, in rows of what `length` becomes."""
        return max(1, round(batch_tokens * self.batch / self.lengths[length]))

    def rate(self, lr: float) -> float:
        """A peak learning rate: by the third root of the weights, which leads through table 3's three rates."""
        return min(max(lr, _MOST_LR), lr * self.weights ** (-1 / 3)) if self.weights < 1 else lr


def scale_down(settings: S, scale: float) -> S:
    """The numbers of a recipe shrunk to `scale` of their tokens, for one CPU. Raises SettingsError for a scale that is
    not between 0 and 1."""
    if not 0 < scale < 1:
        raise SettingsError(f"--scale {scale:g}: write a share of the recipe's tokens, such as 1e-6")
    found = sorted(set(_lengths_in(settings)))
    lengths: dict[int, int] = {}
    for length in found:
        shorter = max(lengths.values(), default=_LEAST_LENGTH - _STEP)
        lengths[length] = min(length, max(_multiple(length * scale**0.3), shorter + _STEP))
    has_size = any(True for _ in new_sizes(settings))
    small: Any = _shrink(settings, Scale(scale, scale ** (2 / 3) if has_size else 1.0, lengths))
    title = getattr(settings, "title", None)
    return replace(small, title=f"{title}, rehearsed at a scale of {scale:g}") if title else small


def scale_for(settings: Any, core_seconds: float) -> float:
    """The scale, of one digit, at which training takes about half of `core_seconds` of a CPU core; the rest is for
    text, tests and sampling. Raises SettingsError for a recipe in which no new model is pre-trained."""
    if not any(True for _ in new_sizes(settings)):
        raise SettingsError(
            "--rehearse chooses a scale for a new model, and this recipe trains none; name one, --scale"
        )
    for exponent in range(-1, -13, -1):
        for digit in (5, 3, 2, 1):
            scale = float(f"{digit}e{exponent}")
            if rehearsal_flops(scale_down(settings, scale)) <= core_seconds / 2 * _CORE_FLOPS:
                return scale
    raise SettingsError("no scale makes this recipe small enough; name one by --scale")


def rehearsal_notes(before: Any, after: Any) -> list[str]:
    """What a rehearsal leaves untried, a sentence each."""
    notes = []
    files = getattr(before, "files", None) or {}
    if any(files.values()):
        lost: dict[str, float] = {}
        for shares in (getattr(part, "mixture_weights", None) or {} for part in settings_parts(before)):
            for source, share in shares.items():
                if share > 0 and not files.get(source):
                    lost[source] = max(share, lost.get(source, 0.0))
        notes += [
            f"source {source} has no files: its share of up to {share:.0%} goes to the others, and is not tried"
            for source, share in lost.items()
        ]
    for source, patterns in (getattr(after, "files", None) or {}).items():
        if patterns != files.get(source):
            notes.append(f"source {source}: of its files {len(patterns):,} are read, evenly drawn")
    if getattr(before, "alignment", None) is not None and getattr(after, "alignment", None) is None:
        notes.append("alignment.rounds names no files: alignment is not tried")
    if any(isinstance(part, LongContextSettings) for part in settings_parts(before)):
        notes.append("gates are asked and reported, and do not bind")
    return notes


# ---- one rule a type of settings; what a rule does not name is shrunk part by part ----


def _size(size: Size, scale: Scale) -> Changes:
    heads = max(1, round(size.dim * scale.weights**0.4 / _HEAD_DIM))
    ratio = size.n_heads / size.n_kv_heads
    kv_heads = _kv_heads(heads, ratio)
    layers = max(1, round(size.n_layers * scale.weights**0.2))
    architecture = size.architecture
    if architecture.head_dim is not None:
        architecture = replace(architecture, head_dim=_HEAD_DIM)
    for name in ("window_layers", "nope_layers"):
        if getattr(architecture, name):
            kept = tuple(layer for layer in getattr(architecture, name) if layer < layers)
            architecture = replace(architecture, **{name: kept})
    return {
        "dim": heads * _HEAD_DIM,
        "n_layers": layers,
        "n_heads": heads,
        "n_kv_heads": kv_heads,
        "ffn_dim": _multiple(heads * _HEAD_DIM * size.ffn_dim / size.dim),
        "rope_scaling": None,
        "architecture": architecture,
    }


def _vocabulary(tokenizer: TokenizerSettings, scale: Scale) -> Changes:
    vocab_size = tokenizer.vocab_size or LLAMA_VOCAB_SIZE - len(CONTROL_TOKENS)
    power = 2 ** round(math.log2(max(1.0, vocab_size * scale.weights**0.5)))
    return {"vocab_size": min(vocab_size, max(_LEAST_VOCAB, power)), "file": "", "extra": None}


def _compute(s: ComputeSettings, scale: Scale) -> Changes:
    return {
        "dtype": "fp32", "float8": False, "compile": False, "recompute": False, "micro_batch": None,
        "layout": ParallelLayout(),
    }  # fmt: skip


def _training(s: TrainingSettings, scale: Scale) -> Changes:
    return {"lr": s.lr and scale.rate(s.lr)}


def _pretraining(s: PretrainSettings, scale: Scale) -> Changes:
    last = scale.rows(s.batch[-1].batch_tokens, s.batch[-1].length or s.length) * scale.lengths[s.length]
    old = BatchRamp(s.batch, s.tokens or 0, s.length)
    batches, tokens = [], [0]
    for phase, planned in zip(s.batch, old.plan, strict=True):
        length = scale.lengths[planned.length]
        batch = scale.rows(phase.batch_tokens, planned.length) * length
        steps = max(_LEAST_STEPS, round(planned.tokens * scale.tokens / batch))
        tokens.append(tokens[-1] + steps * batch)
        batches.append((batch, length if phase.length else None))
    shares = [count / tokens[-1] for count in tokens[1:]]
    phases = tuple(
        BatchPhase(until=share, batch_tokens=batch, length=length)
        for share, (batch, length) in zip(shares, batches, strict=True)
    )
    new = BatchRamp(phases, tokens[-1], scale.lengths[s.length])
    schedule = s.schedule_steps and max(new.steps, round(s.schedule_steps * new.steps / max(1, old.steps)))
    # Of text read so often nobody knows yet how much it is.
    whole = {"tokens": tokens[-1]} if s.tokens else {"tokens": 50 * last, "epochs": None}
    return {
        "length": scale.lengths[s.length],
        **whole,
        "batch": phases,
        "warmup": _warmup(s.warmup, old.steps, new.steps),
        "schedule_steps": schedule,
    }


def _longer(s: LongContextSettings, scale: Scale) -> Changes:
    length = scale.lengths[s.length]
    batch = scale.rows(s.batch_tokens, s.length) * length
    old = s.checks * max(1, s.check_tokens // s.batch_tokens)
    steps = max(_LEAST_STEPS, round(s.checks * s.check_tokens * scale.tokens / batch))
    return {
        "length": length,
        "batch_tokens": batch,
        "check_tokens": steps * batch,
        "checks": 1,
        "gate": 0.0,
        "until": 1.0,
        "short_loss_tolerance": 1.0,
        "needle_seeds": min(s.needle_seeds, _SEEDS),
        "warmup": _warmup(s.warmup, old, steps),
        "rope_scaling": None,
    }


def _annealing(s: AnnealSettings, scale: Scale) -> Changes:
    length = scale.lengths[s.length]
    batch = scale.rows(s.batch_tokens, s.length) * length
    old = max(1, s.tokens // s.batch_tokens)
    steps = max(_LEAST_STEPS, round(s.tokens * scale.tokens / batch))
    return {
        "length": length,
        "batch_tokens": batch,
        "tokens": steps * batch,
        "warmup": _warmup(s.warmup, old, steps),
    }


def _tuning(s: FinetuneSettings, scale: Scale) -> Changes:
    length = getattr(s, "length", None)
    changes: dict[str, Any] = {"epochs": 1, "batch_size": scale.count(s.batch_size)}
    if length is None:
        changes["batch_size"] = min(s.batch_size, max(4, scale.count(s.batch_size)))
    else:
        changes |= {"length": scale.lengths[length], "batch_size": scale.rows(s.batch_size * length, length)}
    if s.steps:
        changes["steps"] = min(s.steps, scale.count(s.steps, _TUNING_STEPS))
    if s.warmup >= 1:
        changes["warmup"] = float(scale.count(round(s.warmup)))
    if scale.weights < 1:
        changes["lr"] = None  # by the size of the model
    return changes


def _rounds(s: AlignRoundsSettings, scale: Scale) -> Changes:
    sampling = s.selection.sampling
    most = max(_ANSWER_TOKENS, round(sampling.max_tokens * scale.tokens**0.3))
    selection = replace(
        s.selection,
        num_samples=min(s.selection.num_samples, _SAMPLES),
        sampling=replace(sampling, max_tokens=min(sampling.max_tokens, most)),
        require_answers=False,  # a model that small may end no answer
    )
    return {
        "rounds": s.rounds[:_ROUNDS],
        "num_rounds": min(s.num_rounds, _ROUNDS),
        "max_samples": min(s.max_samples or _ROWS, _ROWS),
        "max_tests": min(s.max_tests or _TESTS, _TESTS),
        "held_out_share": s.held_out_share and max(s.held_out_share, _HELD_OUT_ROWS),
        "selection": selection,
        "sft_seeds": s.sft_seeds[:_SEEDS],
        "dpo_seeds": s.dpo_seeds[:_SEEDS],
    }


def _evaluation(s: EvaluationSettings, scale: Scale) -> Changes:
    return {
        "needle_lengths": tuple(scale.lengths[length] for length in s.needle_lengths),
        "needle_seeds": min(s.needle_seeds, _SEEDS),
        "loss_length": s.loss_length and scale.lengths[s.loss_length],
    }


def _ladder(s: LadderSettings, scale: Scale) -> Changes:
    sizes = _ladder_sizes(s.sizes, scale)
    length = scale.lengths[s.length]
    batch = scale.rows(max(s.batch_tokens) if isinstance(s.batch_tokens, tuple) else s.batch_tokens, s.length) * length
    vocab_size = max(_LEAST_VOCAB, round(LLAMA_VOCAB_SIZE * scale.weights**0.5)) + len(CONTROL_TOKENS)
    flops = max(size.shape(vocab_size=2 * vocab_size, max_seq_len=length).training_flops(length) for size in sizes)
    budgets: list[float] = []
    for budget in s.budgets:
        least = 2 * budgets[-1] if budgets else 11 * batch * flops
        budgets.append(max(budget * scale.tokens ** (5 / 3), least))
    lr = max(s.lr) if isinstance(s.lr, tuple) else s.lr
    return {"sizes": sizes, "length": length, "batch_tokens": batch, "budgets": tuple(budgets), "lr": scale.rate(lr)}


def _ladder_sizes(sizes: tuple[Size, ...], scale: Scale) -> tuple[Size, ...]:
    """Sizes that shrink to one are one; as many as a curve wants are left, wider by a head each than the narrowest."""
    small = list(dict.fromkeys(replace(size, **_size(size, scale)) for size in sizes))
    least = min(small, key=lambda size: size.dim)
    heads = least.n_heads
    while len(small) < min(FEWEST_POINTS, len(set(sizes))):
        heads += 1
        if all(size.dim != heads * _HEAD_DIM for size in small):
            width = heads * _HEAD_DIM
            kv_heads = _kv_heads(heads, least.n_heads / least.n_kv_heads)
            ffn_dim = _multiple(width * least.ffn_dim / least.dim)
            small.append(replace(least, dim=width, n_heads=heads, n_kv_heads=kv_heads, ffn_dim=ffn_dim))
    return tuple(sorted(small, key=lambda size: (size.dim, size.n_layers)))


def _proxy(s: ProxySettings, scale: Scale) -> Changes:
    length = scale.lengths[s.length]
    batch = scale.rows(s.batch_tokens, s.length) * length
    steps = max(_LEAST_STEPS, round(s.tokens * scale.tokens / batch))
    return {
        "length": length,
        "batch_tokens": batch,
        "tokens": steps * batch,
        "warmup": _warmup(s.warmup, s.steps, steps),
    }


def _candidate(run: CandidateRun, scale: Scale) -> Changes:
    return {"tokens": max(1, round(run.tokens * scale.tokens)), "lr": scale.rate(run.lr)}


def _mix_search(s: MixSearchSettings, scale: Scale) -> Changes:
    proxy = _shrink(s.proxy, scale)
    rungs: list[CandidateRun] = []
    # Whole batches, and every rung of more tokens than the one before, as a forecast wants different budgets.
    for rung in sorted(s.rungs, key=lambda run: run.tokens):
        small = _shrink(rung, scale)
        least = _LEAST_STEPS * proxy.batch_tokens if not rungs else rungs[-1].tokens + proxy.batch_tokens
        rungs.append(replace(small, tokens=max(least, proxy.batch_tokens * round(small.tokens / proxy.batch_tokens))))
    return {"proxy": proxy, "rungs": tuple(rungs), "seeds": s.seeds[:_SEEDS]}


def _alignment(s: Llama3Settings, scale: Scale) -> Changes:
    return {"alignment": None} if s.alignment is None or not s.alignment.rounds else {}


def _text(s: Any, scale: Scale) -> Changes:
    """Of a whole recipe of pre-training: it has `files` by source, and a `base`."""
    most = max(_SOURCE_BYTES, round(_TEXT_BYTES * scale.tokens * (s.base.tokens or 0)))
    return {
        "held_out_share": max(s.held_out_share, _HELD_OUT),
        "files": {source: some_files(source, patterns, most) for source, patterns in s.files.items()},
    }


def _has_text(value: Any) -> bool:
    return all(hasattr(value, name) for name in ("files", "base", "held_out_share"))


RULES: Mapping[type, Callable[[Any, Scale], Changes]] = {
    Size: _size,
    TokenizerSettings: _vocabulary,
    ComputeSettings: _compute,
    TrainingSettings: _training,
    PretrainSettings: _pretraining,
    LongContextSettings: _longer,
    AnnealSettings: _annealing,
    FinetuneSettings: _tuning,
    LengthUpsampling: lambda s, scale: {"longer_than": scale.lengths[s.longer_than]},
    LadderSettings: _ladder,
    ProxySettings: _proxy,
    CandidateRun: _candidate,
    MixSearchSettings: _mix_search,
    EvaluationSettings: _evaluation,
    AlignRoundsSettings: _rounds,
    Llama3Settings: _alignment,
}


def _shrink(value: Any, scale: Scale) -> Any:
    """`value` by the rules of its type and of those it derives from, the parts that they do not name by their own."""
    if isinstance(value, PluginConfig):
        limit = value.settings.get("limit", 0)
        few = {"limit": min(limit, _TESTS) if limit else _TESTS} if "limit" in value.settings else {}
        return replace(value, settings={**value.settings, **few})
    if isinstance(value, tuple) and not hasattr(value, "_fields"):
        return tuple(_shrink(part, scale) for part in value)
    if isinstance(value, Mapping):
        return {name: _shrink(part, scale) for name, part in value.items()}
    if not is_dataclass(value) or isinstance(value, type):
        return value
    changes: dict[str, Any] = {}
    for kind in reversed(type(value).__mro__):
        if kind in RULES:
            changes |= RULES[kind](value, scale)
    changes |= _text(value, scale) if _has_text(value) else {}
    for field in fields(value):
        if field.init and field.name not in changes:
            changes[field.name] = _shrink(getattr(value, field.name), scale)
    changes |= _without_absent(value, changes) if _has_text(value) else {}
    return replace(value, **changes)


def _without_absent(s: Any, changes: Mapping[str, Any]) -> Changes:
    """The parts of a recipe without the sources that have no files; all where none has any, for planning."""
    present = {source for source, patterns in s.files.items() if patterns}
    if not present:
        return {}
    parts = {
        name: over_sources(part, present) for name, part in changes.items() if is_dataclass(part) or name == "longer"
    }
    if "declared" in changes:
        parts["declared"] = {source: tokens for source, tokens in s.declared.items() if source in present}
    return parts


def _warmup(warmup: float, old_steps: int, new_steps: int) -> float:
    """Of so many steps; a share of them stays."""
    return warmup if warmup < 1 else float(max(1, round(warmup * new_steps / max(1, old_steps))))


def _kv_heads(heads: int, ratio: float) -> int:
    """The most that divide the heads, with `ratio` heads each at least."""
    return max(n for n in range(1, heads + 1) if heads % n == 0 and n <= max(1.0, heads / ratio))


def _multiple(number: float) -> int:
    return max(_STEP, _STEP * round(number / _STEP))


def _lengths_in(settings: Any) -> Iterator[int]:
    """Every length of a row."""
    for part in settings_parts(settings):
        for name in _LENGTHS:
            value = getattr(part, name, None)
            if isinstance(value, int):
                yield value
            elif isinstance(value, tuple):
                yield from value
