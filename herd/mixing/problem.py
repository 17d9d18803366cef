"""What every method of mixing is given, and what it answers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np

from herd.core.errors import DataError
from herd.core.executor import Executor
from herd.core.settings import NonNegativeFloat, PositiveFloat, PositiveInt, settings
from herd.mixing.updates import FloatArray, normalize
from herd.model.sizes import Shape, SizeOrName
from herd.tokens.shards import TokenShards
from herd.train.freezing import check_all_learn
from herd.train.settings import TrainingSettings, check_one_device


@settings
class ProxySettings(TrainingSettings):
    """One run of training on one device. length: tokens in a row."""

    size: SizeOrName
    length: PositiveInt
    tokens: PositiveInt
    batch_tokens: PositiveInt
    lr: PositiveFloat
    warmup: NonNegativeFloat = 0.05
    init_std: PositiveFloat = 0.04

    @property
    def steps(self) -> int:
        return max(1, self.tokens // self.batch_tokens)

    def __post_init__(self) -> None:
        super().__post_init__()
        check_one_device(self.layout)
        check_all_learn(self.unfrozen_parameters)
        if self.batch_tokens < self.length:
            raise DataError(f"batch_tokens {self.batch_tokens} holds no row of {self.length}; try {self.length}")


@dataclass(frozen=True)
class MixProblem:
    """The sources to be mixed and the small runs that may be made to find out how.

    device: where they are made, as `place_model` takes it. proxy: of a run. eval_tokens: of each source's held-out
    text, for losses. on_progress: called with the share that is done.
    """

    shards: TokenShards
    sources: tuple[str, ...]
    proxy: ProxySettings
    seed: int
    executor: Executor
    device: str = "auto"
    eval_tokens: int = 4096
    on_progress: Callable[[float], None] = lambda progress: None

    def __post_init__(self) -> None:
        if unknown := set(self.sources) - set(self.shards.sources):
            raise DataError(
                f"the tokens hold no {', '.join(sorted(unknown))}; they hold {', '.join(self.shards.sources)}"
            )
        if len(self.sources) < 2:
            raise DataError("one source makes no mix; name two or more")

    def shape(self, run: ProxySettings) -> Shape:
        return run.size.shape(vocab_size=self.shards.vocab_size, max_seq_len=run.length)

    def flops(self, tokens: float, run: ProxySettings | None = None) -> float:
        """Of training the proxy on so many tokens."""
        run = run or self.proxy
        return tokens * self.shape(run).training_flops(run.length)

    @property
    def proportions(self) -> FloatArray:
        """Each source's part of all tokens there are."""
        return normalize([self.shards.index["sources"][name]["train"]["tokens"] for name in self.sources])

    def named(self, weights: FloatArray) -> dict[str, float]:
        return {name: float(weight) for name, weight in zip(self.sources, normalize(weights), strict=True)}


@dataclass(frozen=True)
class MixResult:
    """The weights of a mix, and what they cost. flops: of all small runs. spread: of each weight, a standard deviation
    where the method knows one from within. sampled: rows are drawn by chance instead of evenly spread. online: the
    weights are where the run starts; it changes them itself. path: weights along the search, for pictures. seconds: of
    the search; baseline_seconds: of plain training on as many tokens, where it was measured."""

    weights: Mapping[str, float]
    flops: float = 0.0
    spread: Mapping[str, float] = field(default_factory=dict)
    sampled: bool = False
    online: bool = False
    path: tuple[Mapping[str, float], ...] = ()
    seconds: float = 0.0
    baseline_seconds: float = 0.0


def subsample(path: list[FloatArray], count: int = 50) -> list[FloatArray]:
    """At most about `count` of them, evenly."""
    return path[:: max(1, len(path) // count)]


def uniform_weights(count: int) -> FloatArray:
    return np.full(count, 1 / count)


def repetition_warnings(shards: TokenShards, weights: Mapping[str, float], tokens: float, epochs: float) -> list[str]:
    """A sentence for each source that would be read more than `epochs` times."""
    total = sum(weights.values())
    warnings = []
    for name, weight in weights.items():
        available = shards.index["sources"][name]["train"]["tokens"]
        times = weight / total * tokens / max(1, available)
        if times > epochs:
            max_weight = epochs * available / tokens
            warnings.append(
                f"{name} holds {available:,} tokens and would be read {times:.1f} times; a share of at most "
                f"{max_weight:.3f} keeps it to {epochs:g}"
            )
    return warnings
