"""Annealing as a judge of data: what does a small new set add, when the rate falls to zero over it? (3.1.3)"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from herd.core.artifacts import Checkpoint, Scores, Tokens
from herd.core.errors import DataError
from herd.core.settings import MixtureWeights, PositiveFloat, PositiveInt, Share, settings
from herd.core.stage import Work, stage
from herd.evals.intervals import Interval, student_mean
from herd.evals.losses import held_out_losses, weighted_mean
from herd.mixing.results import DataProbe
from herd.model.config import read_shape
from herd.model.devices import place_model
from herd.model.weights import load_transformer
from herd.tokens.shards import TokenShard, TokenShards
from herd.tokens.tokenizer import TextTokenizer
from herd.train.batches import TokenBatches
from herd.train.checkpoint import TrainState, open_moments
from herd.train.freezing import freeze_except
from herd.train.log import METRICS_FILE, read_steps
from herd.train.loop import single_device, train_steps
from herd.train.objectives import next_token_loss
from herd.train.optimizer import build_optimizer
from herd.train.schedule import BatchPhase, BatchRamp, LrScheduleName, MixPhase
from herd.train.settings import TrainingSettings, check_one_device

NEW = "new"  # how the new set's sources are called beside the default ones'


@settings
class ProbeSettings(TrainingSettings):
    """Annealings on one device. mixture_weights: of the default mix; by tokens when absent. new_share: of the tokens
    that are new, the rest is the default mix. targets: the sources, by share, whose held-out loss says what the set is
    worth; the default mix's when absent. lr: where the rate falls to zero from; the one the checkpoint was last trained
    with when absent. seeds: of the pairs of runs, in the place of `seed`."""

    tokens: PositiveInt
    length: PositiveInt
    batch_tokens: PositiveInt
    mixture_weights: MixtureWeights | None = None
    new_share: Share = 0.3
    targets: MixtureWeights | None = None
    lr: PositiveFloat | None = None
    min_lr_ratio: Share = 0.0
    schedule: LrScheduleName = "linear"
    seeds: tuple[int, ...] = (0, 1, 2)

    def __post_init__(self) -> None:
        super().__post_init__()
        check_one_device(self.layout)


@dataclass(frozen=True)
class CombinedShards:
    """Two sets of shards read as one; the second's sources carry `new/` before their names."""

    default: TokenShards
    new: TokenShards
    index: Mapping[str, Any] = field(init=False)

    def __post_init__(self) -> None:
        if self.default.vocab_size != self.new.vocab_size:
            raise DataError(
                f"the new set was packed with a vocabulary of {self.new.vocab_size}, the checkpoint's has "
                f"{self.default.vocab_size}; pack it with the checkpoint's tokenizer"
            )
        renamed = {f"{NEW}/{name}": row for name, row in self.new.index["sources"].items()}
        sources = self.default.index["sources"] | renamed
        object.__setattr__(self, "index", {**self.default.index, "sources": sources})

    @property
    def sources(self) -> list[str]:
        return sorted(self.index["sources"])

    @property
    def pad_id(self) -> int:
        return self.default.pad_id

    def read(self, source: str, split: str = "train") -> TokenShard:
        prefix = f"{NEW}/"
        if source.startswith(prefix):
            return self.new.read(source.removeprefix(prefix), split)
        return self.default.read(source, split)


@stage(paper="3.1.3", version=2, gpu=True)
def judge_data(
    work: Work, model: Checkpoint, default: Tokens, new: Tokens, *, label: str = NEW, settings: ProbeSettings
) -> Scores:
    """What a new set adds: the checkpoint annealed to zero on 30 % of it and 70 % of the default mix, against the same
    annealing on the default mix alone, seed by seed.

    Gains are in nats a token of held-out text, above zero when the new set helps. Both runs of a seed read the default
    text in the same order. Raises DataError when the new set holds no row of text, or the default text holds none out
    in a source that is asked about.
    """
    shards = CombinedShards(TokenShards(default.path), TokenShards(new.path))
    tokenizer, vocabulary = TextTokenizer.load(model.path), read_shape(model.path).vocab_size
    for packed in (shards.default, shards.new):
        packed.check_packed_for(tokenizer, vocabulary)
    weights = settings.mixture_weights or _by_tokens(shards.default)
    new_weights = {f"{NEW}/{name}": weight for name, weight in _by_tokens(shards.new).items()}
    if not new_weights:
        raise DataError(f"{new.path}: the new set holds no text to train on; look at its rejects with `herd show`")
    targets = _judged(default.path, shards.default.index["sources"], settings.targets, weights)
    lr = settings.lr or _last_lr(model)
    arms = {"control": weights, label: _combine_mixes(weights, new_weights, settings.new_share)}
    losses: dict[str, list[dict[str, float]]] = {name: [] for name in arms}
    total = len(arms) * len(settings.seeds)
    for number, seed in enumerate(settings.seeds):
        for arm, (name, mix) in enumerate(arms.items()):
            report = work.progress_of_part(len(arms) * number + arm, total, f"seed {seed}, {name}")
            losses[name].append(_annealed(work, model, shards, mix, lr, replace(settings, seed=seed), report))
    gain = probe_gain(losses["control"], losses[label], targets)
    new_tokens = settings.tokens * settings.new_share
    result = DataProbe(
        label=label,
        gain=gain,
        by_source=_gains_by_source(losses["control"], losses[label]),
        epochs=new_tokens / max(1, sum(row["train"]["tokens"] for row in shards.new.index["sources"].values())),
        lr=lr,
        seeds=settings.seeds,
        losses={arm: tuple(by_seed) for arm, by_seed in losses.items()},
    )
    (work.out / "scores.json").write_text(json.dumps(asdict(result), indent=1), encoding="utf-8")
    work.record(result)
    work.headline = f"{label}: {verdict(gain)}, read {result.epochs:.1f} times"
    return Scores(work.out)


def _judged(
    folder: Path, sources: Mapping[str, Any], targets: Mapping[str, float] | None, weights: Mapping[str, float]
) -> dict[str, float]:
    """Whose held-out losses count, by share: `targets`, or every source of the mix that has text held out."""
    measured = {name for name, row in sources.items() if row["heldout"]["documents"]}
    counted = dict(targets or {}) or {name: weight for name, weight in weights.items() if name in measured}
    missing = ", ".join(sorted(counted.keys() - measured))
    if missing or not counted:
        raise DataError(
            f"{folder}: no text{' of ' * bool(missing)}{missing} is held out to judge by; pack it with a "
            "held_out_share above 0"
        )
    return counted


def probe_gain(control: list[dict[str, float]], new: list[dict[str, float]], targets: Mapping[str, float]) -> Interval:
    """By how many nats the new arm lies below the control, paired by seed, with Student's 95 % interval."""
    pairs = zip(control, new, strict=True)
    return student_mean([weighted_mean(a, targets) - weighted_mean(b, targets) for a, b in pairs])


def _gains_by_source(control: list[dict[str, float]], new: list[dict[str, float]]) -> dict[str, float]:
    """By how many nats the new arm lies below the control in each source, the mean over seeds."""
    gains = {}
    for name in control[0]:
        pairs = zip(control, new, strict=True)
        gains[name] = student_mean([control_losses[name] - losses[name] for control_losses, losses in pairs]).value
    return gains


def verdict(gain: Interval) -> str:
    """A gain in words."""
    effect = "helps" if gain.low > 0 else "harms" if gain.high < 0 else "no effect outside the interval"
    return f"{gain.value:+.4f} nats [{gain.low:+.4f}, {gain.high:+.4f}], {effect}"


def _annealed(
    work: Work, model: Checkpoint, shards: CombinedShards, mix: Mapping[str, float], lr: float, settings: ProbeSettings,
    report: Callable[[float, float], None] = lambda completed, total: None,
) -> dict[str, float]:  # fmt: skip
    """Held-out losses of the default sources after one annealing. report: called with the steps done."""
    report(0, 1)
    network = place_model(load_transformer(model.path), work.device)
    if network.shape.max_seq_len < settings.length:
        raise DataError(f"the checkpoint reads {network.shape.max_seq_len} tokens; set length to at most that")
    phase = BatchPhase(until=1.0, batch_tokens=settings.batch_tokens)
    ramp = BatchRamp((phase,), settings.tokens, settings.length)
    phases = (MixPhase(until=1.0, mixture_weights=dict(mix)),)
    batches = TokenBatches(shards, phases, ramp, settings.seed, shards.pad_id)  # type: ignore[arg-type]
    freeze_except(network, network.shape, settings.unfrozen_parameters)
    state = TrainState(network, build_optimizer(network, settings.optimizer))
    moments = open_moments(model.path)
    if moments is not None:
        state.load_moments(moments)
    strategy = single_device(state, work.executor, settings)
    for step in train_steps(
        state,
        batches,
        loss_fn=next_token_loss,
        lr_schedule=settings.lr_schedule(max(1, len(batches)), lr=lr),
        max_grad_norm=settings.optimizer.max_grad_norm,
        strategy=strategy,
        guard=settings.guard,
        micro_batch=settings.micro_batch,
    ):
        report(step.number, len(batches))
    strategy.close()
    losses = held_out_losses(network, shards.default, length=settings.length, workers=work.executor.workers)
    return {name: loss.nats_per_token for name, loss in losses.items()}


def _combine_mixes(default: Mapping[str, float], new: Mapping[str, float], share: float) -> dict[str, float]:
    default_total, new_total = sum(default.values()), sum(new.values())
    default_part = {name: (1 - share) * weight / default_total for name, weight in default.items()}
    return default_part | {name: share * weight / new_total for name, weight in new.items()}


def _by_tokens(shards: TokenShards) -> dict[str, float]:
    counts = {name: row["train"]["tokens"] for name, row in shards.index["sources"].items()}
    total = sum(counts.values())
    return {name: count / total for name, count in counts.items() if count}


def _last_lr(model: Checkpoint) -> float:
    """Of the checkpoint's own training. Raises DataError when it is not known or was zero."""
    records = read_steps(model.path / METRICS_FILE)
    if not records or records[-1].lr <= 0:
        raise DataError(
            f"{model.path} records no learning rate to decay from; set lr, best to what it was trained with last"
        )
    return records[-1].lr
