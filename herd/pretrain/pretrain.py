"""Initial pre-training (3.4.1)."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Annotated

from herd.core.artifacts import Checkpoint, Mix, Tokenizer, Tokens
from herd.core.errors import DataError, SettingsError
from herd.core.settings import AddedLater, InPlaceOf, NonNegativeFloat, PositiveFloat, PositiveInt, settings
from herd.core.stage import Work, stage
from herd.evals.losses import held_out_losses, weighted_loss
from herd.model.config import CONFIG_JSON, read_shape
from herd.model.sizes import Shape, SizeOrName
from herd.pretrain.mix import ProportionalMix, mix_shares, resolve_mix, train_tokens
from herd.tokens.shards import TokenShards
from herd.tokens.tokenizer import TextTokenizer
from herd.train.batches import TokenBatches
from herd.train.checkpoint import kind_of
from herd.train.log import Step, tokens_by_source
from herd.train.loop import train
from herd.train.objectives import NextTokenLoss
from herd.train.results import HeldOutLoss, SourceUse, TrainingResult
from herd.train.rows import LengthUpsampling
from herd.train.schedule import BatchPhase, BatchRamp, MixPhase, check_phases
from herd.train.session import init_model, load_for_training, training_ranks
from herd.train.settings import TrainingSettings, num_ranks


@settings
class PretrainSettings(TrainingSettings):
    """One run of pre-training.

    size: of a new model; a checkpoint has its own. length: tokens in a row, the most where phases of `batch` have
    shorter ones. tokens: how many are trained on; in their place epochs: how often the text is read. mix: shares by
    phases, or in proportion to the text there is. schedule_steps: over which the rate changes, the run's when absent;
    of a longer schedule only its beginning is run. init_std: of a new model's first values. z_loss: how much large
    logits are held back (1e-4 in PaLM).
    """

    size: SizeOrName | None = None
    length: PositiveInt
    tokens: Annotated[PositiveInt | None, InPlaceOf("epochs")] = None
    epochs: AddedLater[Annotated[PositiveFloat | None, InPlaceOf("tokens")]] = None
    batch: tuple[BatchPhase, ...]
    mix: tuple[MixPhase, ...] | ProportionalMix = ProportionalMix()
    lr: PositiveFloat
    warmup: NonNegativeFloat = 0.02
    init_std: PositiveFloat = 0.02
    z_loss: float = 0.0
    schedule_steps: AddedLater[PositiveInt | None] = None

    def __post_init__(self) -> None:
        super().__post_init__()
        check_phases(self.batch, "batch")
        if not isinstance(self.mix, ProportionalMix):
            check_phases(self.mix, "mix")
        if (self.tokens is None) == (self.epochs is None):
            raise SettingsError("write either tokens, how many are trained on, or epochs, how often the text is read")
        for number, phase in enumerate(self.batch):
            if phase.length is not None and phase.length > self.length:
                raise SettingsError(
                    f"batch.{number}.length is {phase.length} and length, the most a row has, {self.length}; raise that"
                )
        steps = BatchRamp(self.batch, self.tokens or 1, self.length).steps
        if self.schedule_steps is not None and self.schedule_steps < steps:
            raise SettingsError(
                f"schedule_steps is {self.schedule_steps:,} and the run takes {steps:,} steps; name no fewer"
            )


@stage(paper="3.4.1", version=5, ranks=num_ranks, isolated=True, gpu=True)
def pretrain(
    work: Work,
    tokens: Tokens,
    init_from: Tokenizer | Checkpoint,
    mix: AddedLater[Mix | None] = None,
    *,
    settings: PretrainSettings,
) -> Checkpoint:
    """A base model: rate warmed up and let down along a cosine, batch and mix changing on the way.

    init_from: a tokenizer for a new model, or a checkpoint to go on from, herd's own or imported, with its tokenizer,
    its architecture, the optimizer's moments where they were kept, and what it is for. mix: shares that a search found,
    in the place of those of the settings. Raises SettingsError for a size beside a checkpoint or none beside a
    tokenizer, for rows longer than the checkpoint reads, and for a found mix beside phases.
    """
    shards = TokenShards(tokens.path)
    tokenizer = TextTokenizer.load(init_from.path)
    shape, kind = _shape(settings, init_from, shards), kind_of(init_from.path) if _is_model(init_from) else "base"
    shards.check_packed_for(tokenizer, shape.vocab_size)
    if _is_model(init_from):
        session = load_for_training(work, init_from.path, settings=settings, shape=shape, moments=True)
    else:
        session = init_model(work, shape, init_std=settings.init_std, settings=settings)
    run = resolve_mix(
        train_tokens(shards),
        settings.mix,
        tokens=settings.tokens,
        epochs=settings.epochs,
        found=mix and mix_shares(mix),
    )
    for sentence in run.warnings if session.first else ():
        work.warn(sentence)
    ramp = BatchRamp(settings.batch, run.tokens, settings.length)
    batches = token_batches(shards, run.phases, ramp, settings.seed)
    steps = train(
        work,
        session.state,
        batches,
        loss_fn=NextTokenLoss(settings.z_loss),
        lr_schedule=settings.lr_schedule(max(settings.schedule_steps or 0, ramp.steps)),
        max_grad_norm=settings.optimizer.max_grad_norm,
        guard=settings.guard,
        strategy=session.strategy,
        micro_batch=settings.micro_batch,
        flops_per_token=shape.training_flops(settings.length),
    )
    model = session.write(tokenizer, kind=kind, moments=True)
    ranks = training_ranks(work, settings.layout)
    losses = held_out_losses(model, shards, length=settings.length, workers=work.executor.workers, ranks=ranks)
    if not session.first:
        return Checkpoint(work.out)
    final, note = last_loss(work, losses, run.phases[-1].mixture_weights, steps)
    trained = ramp.trained_tokens
    work.record(
        TrainingResult(
            num_params=shape.num_params,
            tokens=trained,
            flops=sum(tokens * shape.training_flops(length) for length, tokens in ramp.tokens_by_length.items()),
            loss=final,
            length=settings.length,
            sources=sources_read(batches, steps),
            held_out=losses,
        )
    )
    work.headline = f"{shape.num_params:,} weights, {trained:,} tokens, loss {final:.3f}{note}{session.trainable_note}"
    return Checkpoint(work.out)


def _is_model(init_from: Tokenizer | Checkpoint) -> bool:
    return (init_from.path / CONFIG_JSON).exists()


def _shape(settings: PretrainSettings, init_from: Tokenizer | Checkpoint, shards: TokenShards) -> Shape:
    if not _is_model(init_from):
        if settings.size is None:
            raise SettingsError("a new model wants a size; write `size:`, or go on from a checkpoint")
        return settings.size.shape(vocab_size=shards.vocab_size, max_seq_len=settings.length)
    if settings.size is not None:
        raise SettingsError("a checkpoint has a size of its own; take `size:` away")
    shape = read_shape(init_from.path)
    if settings.length > shape.max_seq_len:
        raise SettingsError(
            f"length is {settings.length} and the checkpoint reads {shape.max_seq_len} tokens; take that, or grow its "
            "context by `extend_context`"
        )
    return shape


def sources_read(batches: TokenBatches, steps: Sequence[Step]) -> dict[str, SourceUse]:
    """Of every source the tokens that were trained on, their share of all, and the rows and full readings
    they came from. steps: those that were taken or skipped."""
    tokens = tokens_by_source(steps)
    total = max(1, sum(tokens.values()))
    return {
        name: SourceUse(int(row["rows"]), tokens.get(name, 0), tokens.get(name, 0) / total, row["epochs"])
        for name, row in batches.counts(len(steps)).items()
    }


def last_loss(
    work: Work, losses: Mapping[str, HeldOutLoss], shares: Mapping[str, float], steps: Sequence[Step]
) -> tuple[float, str]:
    """The loss a run ends with, nats a token, and a note on it: on held-out text in these shares. Where nothing of that
    is held out, the mean of the last ten steps that were taken, with a warning."""
    if any(share > 0 and source in losses for source, share in shares.items()):
        return weighted_loss(losses, shares), ""
    work.warn(
        f"nothing is held out of {', '.join(shares)}, so no loss was measured on unseen text: the loss recorded is the "
        "mean of the last ten steps of training; raise held_out_share or add documents"
    )
    last = [step.loss for step in steps if not step.skipped][-10:]
    return sum(last) / len(last) if last else math.nan, " in training, nothing held out"


def token_batches(
    shards: TokenShards,
    mix: tuple[MixPhase, ...],
    ramp: BatchRamp,
    seed: int,
    long_first: LengthUpsampling | None = None,
) -> TokenBatches:
    """Batches of packed documents. Raises DataError when there is not one batch of text."""
    available = sum(shards.index["sources"][name]["train"]["tokens"] for name in shards.sources)
    batch = max(phase.batch_tokens for phase in ramp.phases)
    if available < batch:
        raise DataError(
            f"the corpus holds {available:,} tokens, less than one batch of {batch:,}; "
            f"add text, or set batch_tokens to at most {available:,}"
        )
    return TokenBatches(shards, mix, ramp, seed, shards.pad_id, long_first)
