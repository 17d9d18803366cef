"""Small models that are trained to find a mix: plainly on shares, or source by source."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from torch import Tensor

from herd.evals.losses import held_out_losses
from herd.mixing.problem import MixProblem, ProxySettings
from herd.mixing.updates import FloatArray, normalize
from herd.model.devices import place_model
from herd.model.transformer import Transformer, initialize
from herd.train.batches import Batch, TokenBatches, collate
from herd.train.checkpoint import TrainState
from herd.train.compute import ComputeContext
from herd.train.cross_entropy import cross_entropy
from herd.train.loop import Step, single_device, train_steps
from herd.train.objectives import next_token_loss
from herd.train.optimizer import build_optimizer, set_lr
from herd.train.rows import SourceRows, named_rng
from herd.train.schedule import BatchPhase, BatchRamp, MixPhase

# Whose rows a step takes, one name a row.
ChooseSources = Callable[[int, int], Sequence[str]]


@dataclass(frozen=True)
class EvalPoint:
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
class LossCurve:
    """What a run came to. seconds: of training alone. tokens_read: of every source. rows: of all sources."""

    points: list[EvalPoint] = field(default_factory=list)
    seconds: float = 0.0
    tokens_read: dict[str, int] = field(default_factory=dict)
    rows: int = 0

    @property
    def last(self) -> EvalPoint:
        return self.points[-1]

    def tokens_to(self, mean: float) -> float | None:
        """After how many tokens the mean loss is `mean`, between points by line; None when it never gets there."""
        before: EvalPoint | None = None
        for point in self.points:
            if point.mean <= mean:
                if before is None or before.mean <= point.mean:
                    return float(point.tokens)
                part = (before.mean - mean) / (before.mean - point.mean)
                return before.tokens + part * (point.tokens - before.tokens)
            before = point
        return None


class SampledBatches:
    """Batches whose rows' sources are chosen step by step; what is chosen may depend on the steps before."""

    def __init__(self, problem: MixProblem, run: ProxySettings, choose: ChooseSources) -> None:
        self.run, self.choose, self.pad = run, choose, problem.shards.pad_id
        self.rows = run.batch_tokens // run.length
        self.sources = {n: SourceRows(n, problem.shards.read(n), run.length, problem.seed) for n in problem.sources}
        self.rows_read = dict.fromkeys(problem.sources, 0)
        self._current: tuple[int, Batch] | None = None

    def __len__(self) -> int:
        return self.run.steps

    def batch(self, step: int) -> Batch:
        if self._current is None or self._current[0] != step:
            self._current = step, self.take(self.choose(step, self.rows))
        return self._current[1]

    def take(self, names: Sequence[str]) -> Batch:
        """The next rows of these sources."""
        rows = []
        for name in names:
            rows.append(self.sources[name].texts(self.rows_read[name]))
            self.rows_read[name] += 1
        return replace(collate(rows, self.run.length, self.pad), sources=tuple(names))

    def counts(self) -> dict[str, dict[str, float]]:
        """Per source: rows given so far, and their tokens."""
        return {
            name: {"rows": rows, "tokens": self.sources[name].tokens(rows)} for name, rows in self.rows_read.items()
        }


def random_sources(problem: MixProblem, weights: FloatArray) -> ChooseSources:
    """Every row's source drawn anew, a function of seed and step; shares are those of tokens to be expected."""
    chances = normalize(weights / row_tokens(problem))

    def choose(step: int, rows: int) -> Sequence[str]:
        rng = named_rng(problem.seed, "source of a row", step)
        return [problem.sources[number] for number in rng.choice(len(weights), rows, p=chances)]

    return choose


def row_tokens(problem: MixProblem) -> FloatArray:
    """The tokens of a row, the mean of each source's first epoch; rows of short texts are less full."""
    rows = [SourceRows(n, problem.shards.read(n), problem.proxy.length, problem.seed) for n in problem.sources]
    return np.array(
        [source_rows.tokens(source_rows.rows_per_epoch) / source_rows.rows_per_epoch for source_rows in rows]
    )


def stratified_batches(
    problem: MixProblem,
    run: ProxySettings,
    weights: Mapping[str, float],
    *,
    late: tuple[float, Mapping[str, float] | None] = (0.0, None),
) -> TokenBatches:
    """Shares kept as closely as rows allow. late: in the last part of the run, so large a share of it, other shares."""
    phase = BatchPhase(until=1.0, batch_tokens=run.batch_tokens)
    ramp = BatchRamp((phase,), run.steps * run.batch_tokens, run.length)
    late_share, late_weights = late
    mix = (MixPhase(until=1.0, mixture_weights=_normalized(weights)),)
    if late_weights is not None and late_share > 0:
        mix = (
            MixPhase(until=1 - late_share, mixture_weights=_normalized(weights)),
            MixPhase(until=1.0, mixture_weights=_normalized(late_weights)),
        )
    return TokenBatches(problem.shards, mix, ramp, problem.seed, problem.shards.pad_id)


def _normalized(weights: Mapping[str, float]) -> dict[str, float]:
    return dict(zip(weights, normalize(list(weights.values())).tolist(), strict=True))


def new_model(problem: MixProblem, run: ProxySettings) -> Transformer:
    shape = problem.shape(run)
    model = Transformer(shape)
    rng = torch.Generator().manual_seed(problem.seed)
    initialize(model, std=run.init_std, layers=shape.n_layers, generator=rng)
    return place_model(model, problem.device)


def evaluate_proxy(problem: MixProblem, model: Transformer, run: ProxySettings, tokens: int) -> EvalPoint:
    """The held-out losses of the sources to be mixed."""
    workers = problem.executor.workers
    losses = held_out_losses(
        model, problem.shards, length=run.length, tokens=problem.eval_tokens, sources=problem.sources, workers=workers
    )
    return EvalPoint(tokens, {name: loss.nats_per_token for name, loss in losses.items()})


def train_proxy(
    problem: MixProblem,
    run: ProxySettings,
    batches: TokenBatches | SampledBatches,
    *,
    points: int = 1,
    on_step: Callable[[Step], None] = lambda step: None,
) -> tuple[Transformer, LossCurve]:
    """A model trained on `batches`, and its held-out losses at so many points, evenly apart, the last at the end.

    on_step: called with each step before the next one's batch is asked for.
    """
    model = new_model(problem, run)
    state = TrainState(model, build_optimizer(model, run.optimizer))
    strategy = single_device(state, problem.executor, run)
    eval_steps = {round(run.steps * (n + 1) / points) for n in range(points)}
    curve = LossCurve()
    records = train_steps(
        state, batches, loss_fn=next_token_loss, lr_schedule=run.lr_schedule(run.steps),
        max_grad_norm=run.optimizer.max_grad_norm,
        strategy=strategy, guard=run.guard, micro_batch=run.micro_batch,
    )  # fmt: skip
    for step in records:
        curve.seconds += step.seconds
        on_step(step)
        problem.on_progress(step.number / run.steps)
        if step.number in eval_steps:
            curve.points.append(evaluate_proxy(problem, model, run, step.number * run.batch_tokens))
            model.train()
    strategy.close()
    counts = batches.counts()
    curve.tokens_read = {name: int(row["tokens"]) for name, row in counts.items()}
    curve.rows = int(sum(row["rows"] for row in counts.values()))
    return model, curve


class PerSourceTrainer:
    """A model that is trained with each source's loss known apart, a few rows of every source a step."""

    def __init__(self, problem: MixProblem, run: ProxySettings) -> None:
        self.problem, self.run = problem, run
        self.model = new_model(problem, run)
        self.params = list(self.model.parameters())
        self.optimizer = build_optimizer(self.model, run.optimizer)
        self.lr_schedule, self.compute_context = run.lr_schedule(run.steps), ComputeContext(self.model, run)
        self.device = self.params[0].device
        rows = max(1, round(run.batch_tokens / run.length / len(problem.sources)))
        names = np.repeat(problem.sources, rows).tolist()
        self.rows = rows
        self.batches = SampledBatches(problem, run, lambda step, count: names)

    @property
    def steps(self) -> int:
        """As many as make the run's tokens."""
        return max(1, self.run.tokens // (self.rows * len(self.problem.sources) * self.run.length))

    @property
    def tokens(self) -> int:
        return self.steps * self.rows * len(self.problem.sources) * self.run.length

    def batch(self, step: int) -> Batch:
        return self.batches.batch(step).to(self.device)

    def source(self, batch: Batch, number: int) -> Batch:
        """The rows of one source."""
        return batch.rows(slice(number * self.rows, (number + 1) * self.rows))

    def losses(self, batch: Batch) -> list[tuple[Tensor, Tensor]]:
        """Of every source in the batch: the mean loss, for gradients, and the nats of each token, [rows, T]."""
        parts = range(len(batch.tokens_BT) // self.rows)
        with self.compute_context:
            return per_source_losses(self.model, batch, [slice(n * self.rows, (n + 1) * self.rows) for n in parts])

    def step(self, number: int, gradients: Sequence[Tensor]) -> None:
        """Takes a step along `gradients`, clipped."""
        for weight, gradient in zip(self.params, gradients, strict=True):
            weight.grad = gradient
        torch.nn.utils.clip_grad_norm_(self.params, self.run.optimizer.max_grad_norm)
        set_lr(self.optimizer, self.lr_schedule(number * self.run.steps // self.steps))
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)


def per_source_losses(model: Transformer, batch: Batch, parts: Sequence[slice]) -> list[tuple[Tensor, Tensor]]:
    """The mean loss of each part of the rows, and its tokens' own."""

    def finish(hidden_BTD: Tensor, weight_VD: Tensor) -> list[tuple[Tensor, Tensor]]:
        losses = []
        for part in parts:
            total, token_nats = cross_entropy(hidden_BTD[part], weight_VD, batch.targets_BT[part])
            losses.append((total / batch.rows(part).loss_denominator, token_nats))
        return losses

    losses: list[tuple[Tensor, Tensor]] = model(batch.tokens_BT, documents_BT=batch.attention_documents, finish=finish)
    return losses


def baseline_step_seconds(problem: MixProblem, run: ProxySettings, count: int = 8) -> float:
    """Seconds that one step of plain training takes on the rows that `PerSourceTrainer` gives, the median of some."""
    trainer = PerSourceTrainer(problem, run)
    step_seconds = []
    for number in range(count):
        began = time.perf_counter()
        with trainer.compute_context:
            total, _ = next_token_loss(trainer.model, batch := trainer.batch(number))
            gradients = torch.autograd.grad(total / batch.loss_denominator, trainer.params)
        trainer.step(number, gradients)
        step_seconds.append(time.perf_counter() - began)
    return float(np.median(step_seconds))
