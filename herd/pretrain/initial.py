"""Initial pre-training (3.4.1)."""

from __future__ import annotations

from collections.abc import Sequence

from herd.core.artifacts import Checkpoint, Tokenizer, Tokens
from herd.core.errors import DataError
from herd.core.settings import NotNegative, Positive, Rate, settings
from herd.core.stage import Work, stage
from herd.evals.losses import held_out_losses, weighted_loss
from herd.model.sizes import SizeOrName
from herd.tokens.shards import Shards
from herd.tokens.tokenizer import TextTokenizer
from herd.train.batches import LongFirst, TokenBatches
from herd.train.log import Step, tokens_by_source
from herd.train.loop import train
from herd.train.objectives import NextToken
from herd.train.schedule import BatchPhase, BatchRamp, MixPhase, check_phases
from herd.train.settings import TrainingSettings, ranks_of
from herd.train.start import init_model


@settings
class PretrainSettings(TrainingSettings):
    """One run of pre-training.

    length: tokens in a row. tokens: how many are trained on. init_std: of the weights' first values. z_loss: how much
    large logits are held back (1e-4 in PaLM).
    """

    size: SizeOrName
    length: Positive
    tokens: Positive
    batch: tuple[BatchPhase, ...]
    mix: tuple[MixPhase, ...]
    lr: Rate
    warmup: NotNegative = 0.02
    init_std: Rate = 0.02
    z_loss: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        check_phases(self.batch, "batch")
        check_phases(self.mix, "mix")
        BatchRamp(self.batch, self.tokens, self.length)


@stage(paper="3.4.1", version=4, ranks=ranks_of, fresh=True, gpu=True)
def pretrain(work: Work, tokens: Tokens, tokenizer: Tokenizer, *, settings: PretrainSettings) -> Checkpoint:
    """A base model: rate warmed up and let down along a cosine, batch and mix changing on the way."""
    shards = Shards(tokens.path)
    text = TextTokenizer.load(tokenizer.path)
    shape = settings.size.shape(vocabulary=shards.vocabulary, context=settings.length)
    made = init_model(work, shape, init_std=settings.init_std, settings=settings)
    ramp = BatchRamp(settings.batch, settings.tokens, settings.length)
    batches = token_batches(shards, settings.mix, ramp, settings.seed)
    steps = train(
        work,
        made.state,
        batches,
        loss=NextToken(settings.z_loss),
        rate=settings.lr_schedule(ramp.steps),
        clip=settings.optimizer.max_grad_norm,
        guard=settings.guard,
        hands=made.hands,
        micro_batch=settings.micro_batch,
        flops_per_token=shape.training_flops(settings.length),
    )
    model = made.write(text, kind="base", moments=True)
    if model is None:
        return Checkpoint(work.out)
    losses = held_out_losses(model, shards, length=settings.length, workers=work.place.workers)
    final = weighted_loss(losses, settings.mix[-1].shares)
    work.figure("weights", shape.weights)
    work.figure("tokens", ramp.rows * settings.length)
    work.figure("flops", ramp.rows * settings.length * shape.training_flops(settings.length))
    work.figure("sources", sources_read(batches, steps))
    work.figure("held_out", losses)
    work.figure("loss", final)
    work.figure("headline", f"{shape.weights:,} weights, {ramp.rows * settings.length:,} tokens, loss {final:.3f}")
    return Checkpoint(work.out)


def sources_read(batches: TokenBatches, steps: Sequence[Step]) -> dict[str, dict[str, float]]:
    """For a card: of every source the tokens that were trained on, their share of all, and the rows and full readings
    they came from. steps: those that were taken or skipped."""
    tokens = tokens_by_source(steps)
    total = max(1, sum(tokens.values()))
    return {
        name: {**row, "tokens": tokens.get(name, 0), "share": tokens.get(name, 0) / total}
        for name, row in batches.counts(len(steps)).items()
    }


def token_batches(
    shards: Shards, mix: tuple[MixPhase, ...], ramp: BatchRamp, seed: int, long_first: LongFirst | None = None
) -> TokenBatches:
    """Batches of packed documents. Raises DataError when there is not one batch of text."""
    available = sum(shards.index["sources"][name]["train"]["tokens"] for name in shards.sources)
    batch = max(phase.batch_tokens for phase in ramp.phases)
    if available < batch:
        raise DataError(
            f"the corpus holds {available:,} tokens, less than one batch of {batch:,}; "
            f"add text, or set batch_tokens to at most {available:,}"
        )
    return TokenBatches(shards, mix, ramp, seed, shards.pad, long_first)
