"""Longer contexts, one length after another, each switch gated by the needle test (3.4.2)."""

from __future__ import annotations

from dataclasses import replace

from herd.core.artifacts import Checkpoint, Tokens
from herd.core.settings import AddedLater, MixtureWeights, NonNegativeFloat, PositiveFloat, PositiveInt, Share, settings
from herd.core.stage import Work, stage
from herd.evals.losses import held_out_losses
from herd.model.config import read_shape
from herd.model.devices import place_model
from herd.model.sizes import RopeScaling, Shape
from herd.model.transformer import Transformer
from herd.model.weights import load_transformer
from herd.pretrain.gate import GateOutcome, GateTest, baseline
from herd.pretrain.mix import ProportionalMix, check_one_mix, later_shares
from herd.pretrain.pretrain import last_loss, sources_read, token_batches
from herd.pretrain.results import ContextExtension, ShortLosses
from herd.tokens.shards import TokenShards
from herd.tokens.tokenizer import TextTokenizer
from herd.train.checkpoint import kind_of
from herd.train.loop import Step, train
from herd.train.objectives import next_token_loss
from herd.train.results import TrainingResult
from herd.train.rows import LengthUpsampling
from herd.train.schedule import BatchPhase, BatchRamp, LrScheduleName, MixPhase
from herd.train.session import load_for_training, training_ranks
from herd.train.settings import TrainingSettings, num_ranks


@settings
class LongContextSettings(TrainingSettings):
    """One switch to a longer context.

    length: the new one. gate: share of needles to be found in every cell of the test, at every depth and every length
    up to the present one, before the switch. until: share to be found in every cell up to the new length for the stage
    to end early; the gate's when absent. needle_seeds: needles a cell. short_loss_tolerance: by how much, as a share,
    losses on rows of the length before the last switch may lie above what they were then: of all sources together, and
    of each where it left its interval as well; asked at both places. check_tokens: trained on between two tests.
    checks: how many tests at most; then the stage ends, passed or not. mixture_weights: as `mix` says where
    they are absent, in proportion to the text where that is too. text_sources: held-out text of these, of all where
    none is named, is what needles are hidden in. rope_theta, rope_scaling: of the positions from now on; absent, they
    stay. length_upsampling: how much more often long documents are read.
    """

    length: PositiveInt
    batch_tokens: PositiveInt
    check_tokens: PositiveInt
    checks: PositiveInt = 4
    gate: Share = 0.95
    until: Share | None = None
    needle_seeds: PositiveInt = 8
    short_loss_tolerance: Share = 0.01
    lr: PositiveFloat
    warmup: NonNegativeFloat = 10.0  # steps; the optimizer's moments are kept, so a short one will do
    schedule: LrScheduleName = "constant"
    mixture_weights: MixtureWeights | None = None
    text_sources: tuple[str, ...] = ()
    rope_theta: PositiveFloat | None = None
    rope_scaling: RopeScaling | None = None
    length_upsampling: LengthUpsampling | None = None
    mix: AddedLater[ProportionalMix | None] = None

    def __post_init__(self) -> None:
        super().__post_init__()
        check_one_mix(self.mixture_weights, self.mix)

    @property
    def max_tokens(self) -> int:
        """What is trained on where no test ends the stage early, about."""
        return self.checks * self.check_tokens


@stage(paper="3.4.2", version=5, ranks=num_ranks, isolated=True, gpu=True)
def extend_context(work: Work, model: Checkpoint, tokens: Tokens, *, settings: LongContextSettings) -> Checkpoint:
    """The model after training on longer rows, until it finds needles at the new length and has not forgotten short
    rows.

    When the gate is not passed at the length the model has, the switch is not made: the stage trains on at that length
    instead, and context and positions stay as they were, so that the next stage is gated at the length that was learnt.
    """
    shards = TokenShards(tokens.path)
    tokenizer = TextTokenizer.load(model.path)
    old = read_shape(model.path)
    shards.check_packed_for(tokenizer, old.vocab_size)
    present = min(old.max_seq_len, settings.length)
    sources = settings.text_sources or tuple(shards.sources)
    weights = later_shares(work, shards, settings.mixture_weights, settings.mix, tokens=settings.max_tokens)
    gate_test = GateTest(
        shards, tokenizer, sources, weights, seeds=settings.needle_seeds, tolerance=settings.short_loss_tolerance,
        executor=work.executor, ranks=training_ranks(work, settings.layout),
    )  # fmt: skip
    first, earlier = place_model(load_transformer(model.path), work.device, work.dtype), baseline(model)
    gate = gate_test.run(first, present, settings.gate, earlier)
    switched = bool(gate)
    # What a switch must give back is what it began with; without one that of the last switch is still asked for.
    before = gate_test.short_losses(first, present) if switched or earlier is None else earlier
    del first  # a whole model, beside which training would have to fit
    length = settings.length if switched else present
    until = settings.gate if settings.until is None else settings.until
    shape = _longer(old, settings) if switched else old
    session = load_for_training(work, model.path, settings=settings, shape=shape, moments=True)
    steps_per_check = max(1, settings.check_tokens // settings.batch_tokens)
    ramp = _ramp(settings, length, steps_per_check)
    gate_results: list[GateOutcome] = []

    def passes(full_model: Transformer) -> bool:
        gate_results.append(gate_test.run(full_model, length, until, before))
        full_model.train()
        return bool(gate_results[-1])

    def enough(step: Step) -> bool:
        return step.number % steps_per_check == 0 and session.decide(passes)

    mix = (MixPhase(until=1.0, mixture_weights=weights),)
    batches = token_batches(shards, mix, ramp, settings.seed, settings.length_upsampling)
    steps = train(
        work,
        session.state,
        batches,
        loss_fn=next_token_loss,
        lr_schedule=settings.lr_schedule(ramp.steps),
        max_grad_norm=settings.optimizer.max_grad_norm,
        guard=settings.guard,
        strategy=session.strategy,
        micro_batch=settings.micro_batch,
        flops_per_token=session.shape.training_flops(length),
        stop_when=enough,
    )
    trained = session.inference_model(session.write(tokenizer, kind=kind_of(model.path), moments=True))
    after = gate_results[-1] if gate_results else gate_test.run(trained, length, until, before)
    losses = held_out_losses(trained, shards, length=length, workers=work.executor.workers, ranks=gate_test.ranks)
    trained_tokens = len(steps) * settings.batch_tokens
    short = gate_test.short_losses(trained, before.length, before.weights)
    if not session.first:
        return Checkpoint(work.out)
    work.record(
        TrainingResult(
            num_params=session.shape.num_params,
            tokens=trained_tokens,
            flops=trained_tokens * session.shape.training_flops(length),
            loss=last_loss(work, losses, weights, steps)[0],
            length=length,
            sources=sources_read(batches, steps),
            held_out=losses,
        )
    )
    work.record(_extension(settings.length, length, (gate, after), (before, short)))
    work.headline = _words(settings.length, present, gate, after, trained_tokens) + session.trainable_note
    return Checkpoint(work.out)


def _extension(
    target: int, length: int, gates: tuple[GateOutcome, GateOutcome], short: tuple[ShortLosses, ShortLosses]
) -> ContextExtension:
    """What is recorded of both gates and of short losses, each before and after training."""
    before, after = gates
    return ContextExtension(
        target=target,
        length=length,
        switched=bool(before),
        switch=before.result(),
        needle_before=before.grid.result(),
        needle=after.grid.result(),
        gate=after.result(),
        short_baseline=short[0],
        short_after=short[1],
    )


def _words(target: int, present: int, gate: GateOutcome, after: GateOutcome, trained_tokens: int) -> str:
    if not gate:
        return (
            f"context stays {present}, not {target}: gate {gate}; after {trained_tokens:,} tokens at {present} "
            f"more, {after}"
        )
    return f"context {target}: gate {after} after {trained_tokens:,} tokens"


def _longer(old: Shape, settings: LongContextSettings) -> Shape:
    """The shape after the switch."""
    return replace(
        old,
        max_seq_len=settings.length,
        rope_theta=settings.rope_theta or old.rope_theta,
        rope_scaling=settings.rope_scaling or old.rope_scaling,
    )


def _ramp(settings: LongContextSettings, length: int, steps_per_check: int) -> BatchRamp:
    total = settings.checks * steps_per_check * settings.batch_tokens
    return BatchRamp((BatchPhase(until=1.0, batch_tokens=settings.batch_tokens),), total, length)
