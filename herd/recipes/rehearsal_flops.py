"""What training a recipe's numbers name takes, in FLOPs, before anything is planned of them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from typing import Any

from herd.mixing.problem import ProxySettings
from herd.model.sizes import Size
from herd.pretrain.anneal import AnnealSettings
from herd.pretrain.long_context import LongContextSettings
from herd.pretrain.pretrain import PretrainSettings
from herd.pretrain.vocabulary import TokenizerSettings
from herd.recipes.mixing_search import MixSearchSettings
from herd.scaling.budget import LadderSettings
from herd.tokens.tokenizer import CONTROL_TOKENS
from herd.train.schedule import BatchRamp

_USUAL_VOCAB = 512
_SEARCH_RUNS = (
    3  # of a proxy, about, that a method which says no number takes: DoReMi's reference, it again, the search
)


def rehearsal_flops(settings: Any) -> float:
    """FLOPs of pre-training, longer contexts and annealing, of a ladder and of a search for a mix, as far as a recipe
    has them. What goes on from a model that is there already has no size here, and is not counted."""
    parts = list(settings_parts(settings))
    rows = [part.vocab_size for part in parts if isinstance(part, TokenizerSettings) and part.vocab_size]
    vocab_size = (rows[0] if rows else _USUAL_VOCAB) + len(CONTROL_TOKENS)
    base = next((part.size for part in parts if isinstance(part, PretrainSettings) and part.size), None)

    def flops(size: Size | None, tokens: float, length: int) -> float:
        return tokens * size.shape(vocab_size=vocab_size).training_flops(length) if size else 0.0

    total = 0.0
    for part in parts:
        if isinstance(part, PretrainSettings):
            ramp = BatchRamp(part.batch, part.tokens or 0, part.length)
            lengths = ramp.tokens_by_length.items()
            total += sum(flops(part.size or base, tokens, length) for length, tokens in lengths)
        elif isinstance(part, LongContextSettings):
            total += flops(base, part.checks * part.check_tokens, part.length)
        elif isinstance(part, AnnealSettings):
            total += flops(base, part.tokens, part.length)
        elif isinstance(part, LadderSettings):
            total += len(part.sizes) * sum(part.budgets)
        elif isinstance(part, MixSearchSettings):
            total += sum(flops(size, tokens, part.proxy.length) for size, tokens in _search_runs(part))
    return total


def settings_parts(value: Any) -> Iterator[Any]:
    """Every settings object in `value`, itself first."""
    if isinstance(value, tuple) and not hasattr(value, "_fields"):
        for part in value:
            yield from settings_parts(part)
    elif is_dataclass(value) and not isinstance(value, type):
        yield value
        for field in fields(value):
            yield from settings_parts(getattr(value, field.name))


def new_sizes(settings: Any) -> Iterator[Size]:
    """Those of new models."""
    return (part for part in settings_parts(settings) if isinstance(part, Size))


def _search_runs(s: MixSearchSettings) -> Iterator[tuple[Size, float]]:
    """The size and tokens of what a search trains."""
    proxy: ProxySettings = s.proxy
    if s.method is None:
        for run in s.rungs:
            yield run.size, len(s.candidates) * len(s.seeds) * run.tokens
        return
    numbers = dict(s.method.settings)
    # Runs that share the proxy's tokens have a batch at least.
    shared = max(proxy.tokens, numbers.get("runs", 0) * proxy.batch_tokens)
    yield proxy.size, shared if "runs" in numbers else _SEARCH_RUNS * numbers.get("rounds", 1) * proxy.tokens
