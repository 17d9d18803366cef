"""What every method of mixing is given, and what it answers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np

from herd.core.errors import DataError
from herd.core.places import Place
from herd.core.settings import NotNegative, Positive, Rate, settings
from herd.mixing.updates import Numbers, shares_of
from herd.model.sizes import Shape, SizeOrName
from herd.tokens.shards import Shards
from herd.train.settings import TrainingSettings, check_one_device


@settings
class RunSettings(TrainingSettings):
    """One run of training on one device. length: tokens in a row."""

    size: SizeOrName
    length: Positive
    tokens: Positive
    batch_tokens: Positive
    lr: Rate
    warmup: NotNegative = 0.05
    init_std: Rate = 0.04

    @property
    def steps(self) -> int:
        return max(1, self.tokens // self.batch_tokens)

    def __post_init__(self) -> None:
        super().__post_init__()
        check_one_device(self.layout)
        if self.batch_tokens < self.length:
            raise DataError(f"batch_tokens {self.batch_tokens} holds no row of {self.length}; try {self.length}")


@dataclass(frozen=True)
class Field:
    """The sources to be mixed and the small runs that may be made to find out how.

    device: where they are made, as `place_model` takes it. proxy: of a run. judged_tokens: of each source's held-out
    text, for losses. say: told how far it is, 0 to 1.
    """

    shards: Shards
    sources: tuple[str, ...]
    proxy: RunSettings
    seed: int
    place: Place
    device: str = "auto"
    judged_tokens: int = 4096
    say: Callable[[float], None] = lambda done: None

    def __post_init__(self) -> None:
        if unknown := set(self.sources) - set(self.shards.sources):
            raise DataError(
                f"the tokens hold no {', '.join(sorted(unknown))}; they hold {', '.join(self.shards.sources)}"
            )
        if len(self.sources) < 2:
            raise DataError("one source makes no mix; name two or more")

    def shape(self, run: RunSettings) -> Shape:
        return run.size.shape(vocabulary=self.shards.vocabulary, context=run.length)

    def flops(self, tokens: float, run: RunSettings | None = None) -> float:
        """Of training the proxy on so many tokens."""
        run = run or self.proxy
        return tokens * self.shape(run).training_flops(run.length)

    @property
    def proportions(self) -> Numbers:
        """Each source's part of all tokens there are."""
        return shares_of([self.shards.index["sources"][name]["train"]["tokens"] for name in self.sources])

    def named(self, shares: Numbers) -> dict[str, float]:
        return {name: float(share) for name, share in zip(self.sources, shares_of(shares), strict=True)}


@dataclass(frozen=True)
class Found:
    """Shares, and what they cost. flops: of all small runs. spread: of each share, a standard deviation where the
    method knows one from within. drawn: rows are drawn by chance instead of evenly spread. online: the shares are where
    the run starts; it changes them itself. path: shares along the search, for pictures. seconds: of the search; plain:
    of plain training on as many tokens, where it was measured."""

    shares: Mapping[str, float]
    flops: float = 0.0
    spread: Mapping[str, float] = field(default_factory=dict)
    drawn: bool = False
    online: bool = False
    path: tuple[Mapping[str, float], ...] = ()
    seconds: float = 0.0
    plain_seconds: float = 0.0


def thinned(path: list[Numbers], count: int = 50) -> list[Numbers]:
    """At most about `count` of them, evenly."""
    return path[:: max(1, len(path) // count)]


def uniform(count: int) -> Numbers:
    return np.full(count, 1 / count)


def too_few_tokens(shards: Shards, shares: Mapping[str, float], tokens: float, epochs: float) -> list[str]:
    """A sentence for each source that would be read more than `epochs` times."""
    total = sum(shares.values())
    said = []
    for name, share in shares.items():
        there = shards.index["sources"][name]["train"]["tokens"]
        times = share / total * tokens / max(1, there)
        if times > epochs:
            most = epochs * there / tokens
            said.append(
                f"{name} holds {there:,} tokens and would be read {times:.1f} times; a share of at most {most:.3f} "
                f"keeps it to {epochs:g}"
            )
    return said


def capped(shares: Numbers, most: Numbers) -> Numbers:
    """`shares` with none above `most`; what is cut off goes to the others in proportion.

    Raises DataError when all caps together are less than one: there are too few tokens whatever the mix.
    """
    shares = shares_of(shares)
    if most.sum() < 1 - 1e-12:
        raise DataError(
            f"all sources together hold only {most.sum():.0%} of the tokens asked for within the epochs allowed; train "
            "on fewer tokens or allow more epochs"
        )
    fixed = np.zeros(len(shares), bool)
    for _ in shares:
        over = ~fixed & (shares > most + 1e-15)
        if not over.any():
            break
        fixed |= over
        shares = np.where(fixed, most, shares)
        rest, left = shares[~fixed].sum(), 1 - most[fixed].sum()
        if rest > 0:
            shares = np.where(fixed, shares, shares * left / rest)
        elif (~fixed).any():
            shares = np.where(fixed, shares, left / (~fixed).sum())
    return shares_of(shares)
