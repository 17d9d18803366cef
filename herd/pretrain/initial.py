"""Initial pre-training (3.4.1)."""

from __future__ import annotations

import torch

from herd.core.artifacts import Checkpoint, Tokenizer, Tokens
from herd.core.errors import DataError
from herd.core.settings import Positive, Rate, Share, settings
from herd.core.stage import Work, stage
from herd.evals.losses import held_out_losses, weighted_loss
from herd.model.sizes import SizeOrName
from herd.model.transformer import Transformer, initialize
from herd.tokens.shards import Shards
from herd.tokens.tokenizer import TextTokenizer
from herd.train.batches import TokenBatches
from herd.train.checkpoint import TrainState, write_checkpoint
from herd.train.loop import train
from herd.train.objectives import next_token
from herd.train.optimizer import AdamWSettings, adamw
from herd.train.schedule import BatchPhase, BatchRamp, MixPhase, check_phases, cosine


@settings
class PretrainSettings:
    """One run of pre-training.

    length: tokens in a row. tokens: how many are trained on. warmup_share: of all steps. final_share: the
    rate at the end, as a share of the peak. init_std: of the weights' first values.
    """

    size: SizeOrName
    length: Positive
    tokens: Positive
    batch: tuple[BatchPhase, ...]
    mix: tuple[MixPhase, ...]
    peak_rate: Rate
    warmup_share: Share = 0.02
    final_share: Share = 0.1
    init_std: Rate = 0.02
    optimizer: AdamWSettings = AdamWSettings()
    seed: int = 0

    def __post_init__(self) -> None:
        check_phases(self.batch, "batch")
        check_phases(self.mix, "mix")
        BatchRamp(self.batch, self.tokens, self.length)


@stage(paper="3.4.1", version=1)
def pretrain(work: Work, tokens: Tokens, tokenizer: Tokenizer, *, settings: PretrainSettings) -> Checkpoint:
    """A base model: rate warmed up and let down along a cosine, batch and mix changing on the way."""
    shards = Shards(tokens.path)
    text = TextTokenizer.load(tokenizer.path)
    shape = settings.size.shape(vocabulary=shards.vocabulary, context=settings.length)
    model = Transformer(shape)
    generator = torch.Generator().manual_seed(settings.seed)
    initialize(model, std=settings.init_std, layers=shape.layers, generator=generator)
    state = TrainState(model, adamw(model, settings.optimizer))
    ramp = BatchRamp(settings.batch, settings.tokens, settings.length)
    batches = token_batches(shards, settings.mix, ramp, settings.seed)
    rate = cosine(
        ramp.steps, peak=settings.peak_rate, warmup_share=settings.warmup_share, final_share=settings.final_share
    )
    train(work, state, batches, loss=next_token, rate=rate, clip=settings.optimizer.clip)
    write_checkpoint(work.out, model, text, kind="base", optimizer=state.optimizer)
    losses = held_out_losses(model, shards, length=settings.length)
    final = weighted_loss(losses, settings.mix[-1].shares)
    work.figure("weights", shape.weights)
    work.figure("tokens", ramp.rows * settings.length)
    work.figure("flops", ramp.rows * settings.length * shape.training_flops(settings.length))
    work.figure("sources", batches.counts())
    work.figure("held_out", losses)
    work.figure("loss", final)
    work.figure("headline", f"{shape.weights:,} weights, {ramp.rows * settings.length:,} tokens, loss {final:.3f}")
    return Checkpoint(work.out)


def token_batches(shards: Shards, mix: tuple[MixPhase, ...], ramp: BatchRamp, seed: int) -> TokenBatches:
    """Batches of packed documents. Raises DataError when there is not one batch of text."""
    available = sum(shards.index["sources"][name]["train"]["tokens"] for name in shards.sources)
    batch = max(phase.batch_tokens for phase in ramp.phases)
    if available < batch:
        raise DataError(
            f"the corpus holds {available:,} tokens, less than one batch of {batch:,}; "
            f"add text, or set batch_tokens to at most {available:,}"
        )
    return TokenBatches(shards, mix, ramp, seed, shards.pad)
