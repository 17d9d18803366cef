"""Longer contexts, one length after another, each switch gated by the needle test (3.4.2)."""

from __future__ import annotations

from dataclasses import replace

from herd.core.artifacts import Checkpoint, Tokens
from herd.core.settings import NotNegative, Positive, Rate, Share, Shares, settings
from herd.core.stage import Work, stage
from herd.evals.losses import held_out_losses, weighted_loss
from herd.model.config import shape_in
from herd.model.devices import place_model
from herd.model.sizes import RopeScaling, Shape
from herd.model.transformer import Transformer
from herd.model.weights import load_transformer
from herd.pretrain.gate import Exam, Passed, baseline
from herd.pretrain.initial import sources_read, token_batches
from herd.pretrain.results import ContextExtension, ShortLosses
from herd.tokens.shards import Shards
from herd.tokens.tokenizer import TextTokenizer
from herd.train.checkpoint import kind_of
from herd.train.loop import Step, train
from herd.train.objectives import next_token
from herd.train.results import TrainingResult
from herd.train.rows import LongFirst
from herd.train.schedule import BatchPhase, BatchRamp, MixPhase, ScheduleName
from herd.train.settings import TrainingSettings, ranks_of
from herd.train.start import load_for_training


@settings
class LengthSettings(TrainingSettings):
    """One switch to a longer context.

    length: the new one. gate: share of needles to be found in every cell of the test, at every depth and every length
    up to the present one, before the switch. until: share to be found in every cell up to the new length for the stage
    to end early; the gate's when absent. needle_seeds: needles a cell. recovered: by how much, as a share, losses on
    rows of the length before the last switch may lie above what they were then: of all sources together, and of each
    where it left its interval as well; asked at both places. check_tokens: trained on between two tests. checks: how
    many tests at most; then the stage ends, passed or not. text_sources: held-out text of these is what needles are
    hidden in. rope_theta, rope_scaling: of the positions from now on; absent, they stay. long_first: how much more
    often long documents are read.
    """

    length: Positive
    batch_tokens: Positive
    check_tokens: Positive
    checks: Positive = 4
    gate: Share = 0.95
    until: Share | None = None
    needle_seeds: Positive = 8
    recovered: Share = 0.01
    lr: Rate
    warmup: NotNegative = 10.0  # steps; the optimizer's moments are kept, so a short one will do
    schedule: ScheduleName = "constant"
    shares: Shares
    text_sources: tuple[str, ...]
    rope_theta: Rate | None = None
    rope_scaling: RopeScaling | None = None
    long_first: LongFirst | None = None


@stage(paper="3.4.2", version=4, ranks=ranks_of, fresh=True, gpu=True)
def extend_context(work: Work, model: Checkpoint, tokens: Tokens, *, settings: LengthSettings) -> Checkpoint:
    """The model after training on longer rows, until it finds needles at the new length and has not forgotten short
    rows.

    When the gate is not passed at the length the model has, the switch is not made: the stage trains on at that length
    instead, and context and positions stay as they were, so that the next stage is gated at the length that was learnt.
    """
    shards = Shards(tokens.path)
    text = TextTokenizer.load(model.path)
    old = shape_in(model.path)
    shards.check_packed_for(text, old.vocabulary)
    present = min(old.context, settings.length)
    sources, shares = settings.text_sources, settings.shares
    exam = Exam(
        shards, text, sources, shares, seeds=settings.needle_seeds, tolerance=settings.recovered, place=work.place
    )
    first, earlier = place_model(load_transformer(model.path), work.device), baseline(model)
    gate = exam.ask(first, present, settings.gate, earlier)
    switched = bool(gate)
    # What a switch must give back is what it began with; without one that of the last switch is still asked for.
    before = exam.short(first, present) if switched or earlier is None else earlier
    length = settings.length if switched else present
    until = settings.gate if settings.until is None else settings.until
    shape = _longer(old, settings) if switched else old
    made = load_for_training(work, model.path, settings=settings, shape=shape, moments=True)
    steps_per_check = max(1, settings.check_tokens // settings.batch_tokens)
    ramp = _ramp(settings, length, steps_per_check)
    passed: list[Passed] = []

    def passes(whole: Transformer) -> bool:
        passed.append(exam.ask(whole, length, until, before))
        whole.train()
        return bool(passed[-1])

    def enough(step: Step) -> bool:
        return step.number % steps_per_check == 0 and made.agree(passes)

    mix = (MixPhase(until=1.0, shares=shares),)
    batches = token_batches(shards, mix, ramp, settings.seed, settings.long_first)
    steps = train(
        work,
        made.state,
        batches,
        loss=next_token,
        rate=settings.lr_schedule(ramp.steps),
        clip=settings.optimizer.max_grad_norm,
        guard=settings.guard,
        hands=made.hands,
        micro_batch=settings.micro_batch,
        flops_per_token=made.shape.training_flops(length),
        enough=enough,
    )
    whole = made.write(text, kind=kind_of(model.path), moments=True)
    if whole is None:
        return Checkpoint(work.out)
    after = passed[-1] if passed else exam.ask(whole, length, until, before)
    losses = held_out_losses(whole, shards, length=length, workers=work.place.workers)
    seen = len(steps) * settings.batch_tokens
    short = exam.short(whole, before.length, before.shares)
    work.record(
        TrainingResult(
            num_params=made.shape.weights,
            tokens=seen,
            flops=seen * made.shape.training_flops(length),
            loss=weighted_loss(losses, shares),
            length=length,
            sources=sources_read(batches, steps),
            held_out=losses,
        )
    )
    work.record(_extension(settings.length, length, (gate, after), (before, short)))
    work.headline = _words(settings.length, present, gate, after, seen)
    return Checkpoint(work.out)


def _extension(
    target: int, length: int, gates: tuple[Passed, Passed], short: tuple[ShortLosses, ShortLosses]
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


def _words(target: int, present: int, gate: Passed, after: Passed, seen: int) -> str:
    if not gate:
        return f"context stays {present}, not {target}: gate {gate}; after {seen:,} tokens at {present} more, {after}"
    return f"context {target}: gate {after} after {seen:,} tokens"


def _longer(old: Shape, settings: LengthSettings) -> Shape:
    """The shape after the switch."""
    return replace(
        old,
        context=settings.length,
        rope_theta=settings.rope_theta or old.rope_theta,
        rope_scaling=settings.rope_scaling or old.rope_scaling,
    )


def _ramp(settings: LengthSettings, length: int, steps_per_check: int) -> BatchRamp:
    total = settings.checks * steps_per_check * settings.batch_tokens
    return BatchRamp((BatchPhase(until=1.0, batch_tokens=settings.batch_tokens),), total, length)
