"""Small models that are trained to find a mix: plainly on shares, or source by source."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from torch import Tensor

from herd.evals.losses import held_out_losses
from herd.mixing.field import Field, RunSettings
from herd.mixing.updates import Numbers, shares_of
from herd.model.devices import place_model
from herd.model.transformer import Transformer, initialize
from herd.train.batches import Batch, TokenBatches, collate
from herd.train.checkpoint import TrainState
from herd.train.cross_entropy import cross_entropy
from herd.train.loop import Step, alone, steps
from herd.train.objectives import next_token
from herd.train.optimizer import adamw
from herd.train.rows import SourceRows, generator
from herd.train.schedule import BatchPhase, BatchRamp, MixPhase
from herd.train.speed import Quick

# Whose rows a step takes, one name a row.
Choose = Callable[[int, int], Sequence[str]]


@dataclass(frozen=True)
class Point:
    """Held-out nats per token of every source, after so many tokens."""

    tokens: int
    losses: Mapping[str, float]

    @property
    def mean(self) -> float:
        return sum(self.losses.values()) / len(self.losses)

    @property
    def worst(self) -> float:
        return max(self.losses.values())


@dataclass
class Curve:
    """What a run came to. seconds: of training alone. read: tokens of every source. rows: of
    all sources."""

    points: list[Point] = field(default_factory=list)
    seconds: float = 0.0
    read: dict[str, int] = field(default_factory=dict)
    rows: int = 0

    @property
    def last(self) -> Point:
        return self.points[-1]

    def tokens_to(self, mean: float) -> float | None:
        """After how many tokens the mean loss is `mean`, between points by line; None when it never gets there."""
        before: Point | None = None
        for point in self.points:
            if point.mean <= mean:
                if before is None or before.mean <= point.mean:
                    return float(point.tokens)
                part = (before.mean - mean) / (before.mean - point.mean)
                return before.tokens + part * (point.tokens - before.tokens)
            before = point
        return None


class ChosenBatches:
    """Batches whose rows' sources are chosen step by step; what is chosen may depend on the steps before."""

    def __init__(self, given: Field, run: RunSettings, choose: Choose) -> None:
        self.run, self.choose, self.pad = run, choose, given.shards.pad
        self.rows = run.batch_tokens // run.length
        self.sources = {n: SourceRows(n, given.shards.read(n), run.length, given.seed) for n in given.sources}
        self.read = dict.fromkeys(given.sources, 0)
        self._made: tuple[int, Batch] | None = None

    def __len__(self) -> int:
        return self.run.steps

    def batch(self, step: int) -> Batch:
        if self._made is None or self._made[0] != step:
            self._made = step, self.take(self.choose(step, self.rows))
        return self._made[1]

    def take(self, names: Sequence[str]) -> Batch:
        """The next rows of these sources."""
        rows = []
        for name in names:
            rows.append(self.sources[name].texts(self.read[name]))
            self.read[name] += 1
        return replace(collate(rows, self.run.length, self.pad), sources=tuple(names))

    def counts(self) -> dict[str, dict[str, float]]:
        """Per source: rows given so far, and their tokens."""
        return {name: {"rows": rows, "tokens": self.sources[name].tokens(rows)} for name, rows in self.read.items()}


def by_chance(given: Field, shares: Numbers) -> Choose:
    """Every row's source drawn anew, a function of seed and step; shares are those of tokens to be expected."""
    chances = shares_of(shares / row_tokens(given))

    def choose(step: int, rows: int) -> Sequence[str]:
        chance = generator(given.seed, "source of a row", step)
        return [given.sources[number] for number in chance.choice(len(shares), rows, p=chances)]

    return choose


def row_tokens(given: Field) -> Numbers:
    """The tokens of a row, the mean of each source's first epoch; rows of short texts are less full."""
    rows = [SourceRows(n, given.shards.read(n), given.proxy.length, given.seed) for n in given.sources]
    return np.array([one.tokens(one.rows_per_epoch) / one.rows_per_epoch for one in rows])


def evenly(
    given: Field,
    run: RunSettings,
    shares: Mapping[str, float],
    *,
    late: tuple[float, Mapping[str, float] | None] = (0.0, None),
) -> TokenBatches:
    """Shares kept as closely as rows allow. late: in the last part of the run, so large a share of it, other shares."""
    phase = BatchPhase(until=1.0, batch_tokens=run.batch_tokens)
    ramp = BatchRamp((phase,), run.steps * run.batch_tokens, run.length)
    part, others = late
    mix = (MixPhase(until=1.0, shares=_whole(shares)),)
    if others is not None and part > 0:
        mix = (MixPhase(until=1 - part, shares=_whole(shares)), MixPhase(until=1.0, shares=_whole(others)))
    return TokenBatches(given.shards, mix, ramp, given.seed, given.shards.pad)


def _whole(shares: Mapping[str, float]) -> dict[str, float]:
    return dict(zip(shares, shares_of(list(shares.values())).tolist(), strict=True))


def new_model(given: Field, run: RunSettings) -> Transformer:
    shape = given.shape(run)
    model = Transformer(shape)
    chance = torch.Generator().manual_seed(given.seed)
    initialize(model, std=run.init_std, layers=shape.layers, generator=chance)
    return place_model(model, given.device)


def judged(given: Field, model: Transformer, run: RunSettings, tokens: int) -> Point:
    """The held-out losses of the sources to be mixed."""
    workers = given.place.workers
    losses = held_out_losses(
        model, given.shards, length=run.length, tokens=given.judged_tokens, sources=given.sources, workers=workers
    )
    return Point(tokens, {name: loss.nats_per_token for name, loss in losses.items()})


def train_on(
    given: Field,
    run: RunSettings,
    batches: TokenBatches | ChosenBatches,
    *,
    points: int = 1,
    watch: Callable[[Step], None] = lambda step: None,
) -> tuple[Transformer, Curve]:
    """A model trained on `batches`, and its held-out losses at so many points, evenly apart, the last at the end.

    watch: told of each step before the next one's batch is asked for.
    """
    model = new_model(given, run)
    state = TrainState(model, adamw(model, run.optimizer))
    hands = alone(state, given.place, run)
    due = {round(run.steps * (n + 1) / points) for n in range(points)}
    curve = Curve()
    going = steps(
        state, batches, loss=next_token, rate=run.lr_schedule(run.steps), clip=run.optimizer.max_grad_norm,
        hands=hands, guard=run.guard, micro_batch=run.micro_batch,
    )  # fmt: skip
    for step in going:
        curve.seconds += step.seconds
        watch(step)
        given.say(step.number / run.steps)
        if step.number in due:
            curve.points.append(judged(given, model, run, step.number * run.batch_tokens))
            model.train()
    hands.close()
    counts = batches.counts()
    curve.read = {name: int(row["tokens"]) for name, row in counts.items()}
    curve.rows = int(sum(row["rows"] for row in counts.values()))
    return model, curve


class Apart:
    """A model that is trained with each source's loss known apart, a few rows of every source a step."""

    def __init__(self, given: Field, run: RunSettings) -> None:
        self.given, self.run = given, run
        self.model = new_model(given, run)
        self.weights = list(self.model.parameters())
        self.optimizer = adamw(self.model, run.optimizer)
        self.rate, self.quick = run.lr_schedule(run.steps), Quick(self.model, run)
        self.device = self.weights[0].device
        rows = max(1, round(run.batch_tokens / run.length / len(given.sources)))
        names = [name for name in given.sources for _ in range(rows)]
        self.rows = rows
        self.batches = ChosenBatches(given, run, lambda step, count: names)

    @property
    def steps(self) -> int:
        """As many as make the run's tokens."""
        return max(1, self.run.tokens // (self.rows * len(self.given.sources) * self.run.length))

    @property
    def tokens(self) -> int:
        return self.steps * self.rows * len(self.given.sources) * self.run.length

    def batch(self, step: int) -> Batch:
        return self.batches.batch(step).to(self.device)

    def source(self, batch: Batch, number: int) -> Batch:
        """The rows of one source."""
        return batch.rows(slice(number * self.rows, (number + 1) * self.rows))

    def losses(self, batch: Batch) -> list[tuple[Tensor, Tensor]]:
        """Of every source in the batch: the mean loss, for gradients, and the nats of each token, [rows, T]."""
        parts = range(len(batch.tokens_BT) // self.rows)
        with self.quick:
            return losses_apart(self.model, batch, [slice(n * self.rows, (n + 1) * self.rows) for n in parts])

    def step(self, number: int, gradients: Sequence[Tensor]) -> None:
        """Takes a step along `gradients`, clipped."""
        for weight, gradient in zip(self.weights, gradients, strict=True):
            weight.grad = gradient
        torch.nn.utils.clip_grad_norm_(self.weights, self.run.optimizer.max_grad_norm)
        for group in self.optimizer.param_groups:
            group["lr"] = self.rate(number * self.run.steps // self.steps)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)


def losses_apart(model: Transformer, batch: Batch, parts: Sequence[slice]) -> list[tuple[Tensor, Tensor]]:
    """The mean loss of each part of the rows, and its tokens' own."""

    def finish(hidden_BTD: Tensor, weight_VD: Tensor) -> list[tuple[Tensor, Tensor]]:
        found = []
        for part in parts:
            total, each = cross_entropy(hidden_BTD[part], weight_VD, batch.targets_BT[part])
            found.append((total / batch.rows(part).weight, each))
        return found

    found: list[tuple[Tensor, Tensor]] = model(batch.tokens_BT, documents_BT=batch.looked_at, finish=finish)
    return found


def plain_seconds(given: Field, run: RunSettings, count: int = 8) -> float:
    """Seconds that one step of plain training takes on the rows that `Apart` gives, the median of some."""
    apart = Apart(given, run)
    taken = []
    for number in range(count):
        began = time.perf_counter()
        with apart.quick:
            total, _ = next_token(apart.model, batch := apart.batch(number))
            gradients = torch.autograd.grad(total / batch.weight, apart.weights)
        apart.step(number, gradients)
        taken.append(time.perf_counter() - began)
    return float(np.median(taken))
