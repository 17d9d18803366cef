"""Longer contexts, one length after another, each switch gated by the needle test (3.4.2)."""

from __future__ import annotations

from dataclasses import dataclass, replace

from herd.core.artifacts import Checkpoint, Tokens
from herd.core.processes import give_back
from herd.core.settings import Positive, Rate, Share, Shares, settings
from herd.core.stage import Work, stage
from herd.evals.losses import held_out_losses, weighted_loss
from herd.evals.needle import NeedleGrid, haystacks, held_out_texts, needle_test
from herd.generate.engine import Engine
from herd.model.config import shape_in
from herd.model.sizes import RopeScaling, Shape
from herd.model.transformer import Transformer
from herd.model.weights import load_transformer
from herd.pretrain.initial import token_batches
from herd.tokens.shards import Shards
from herd.tokens.tokenizer import TextTokenizer
from herd.train.batches import LongFirst
from herd.train.guards import GuardSettings
from herd.train.layout import Layout
from herd.train.loop import Step, train
from herd.train.objectives import next_token
from herd.train.optimizer import AdamWSettings
from herd.train.schedule import BatchPhase, BatchRamp, MixPhase
from herd.train.speed import SpeedSettings
from herd.train.start import go_on

# Few enough rows that the mask of one batch of long haystacks stays small.
_NEEDLE_ROWS = 16
_SHORT_TOKENS = 2048  # a source, for the loss on short rows
_WARMUP_STEPS = 10  # the optimizer's moments are kept, so a short one will do


@settings
class LengthSettings:
    """One switch to a longer context.

    length: the new one. gate: share of needles to be found up to the present length before the switch. until: share to
    be found up to the new length for the stage to end early; the gate's when absent. check_tokens: trained on between
    two tests. checks: how many tests at most; then the stage ends, passed or not. recovered: by how much, as a share,
    the loss on rows of the length before may lie above what it was before the switch for the stage to end early;
    absent, it does not count. text_sources: held-out text of these is what needles are hidden in. rope_theta,
    rope_scaling: of the positions from now on; absent, they stay. long_first: how much more often long
    documents are read.
    """

    length: Positive
    batch_tokens: Positive
    check_tokens: Positive
    checks: Positive = 4
    gate: Share = 0.95
    until: Share | None = None
    recovered: Share | None = None
    peak_rate: Rate
    shares: Shares
    text_sources: tuple[str, ...]
    rope_theta: Rate | None = None
    rope_scaling: RopeScaling | None = None
    long_first: LongFirst | None = None
    optimizer: AdamWSettings = AdamWSettings()
    guard: GuardSettings = GuardSettings()
    speed: SpeedSettings = SpeedSettings()
    layout: Layout = Layout()
    seed: int = 0


def _ranks(settings: LengthSettings) -> int:
    return settings.layout.devices


@stage(paper="3.4.2", version=3, ranks=_ranks, fresh=True)
def extend_context(work: Work, model: Checkpoint, tokens: Tokens, *, settings: LengthSettings) -> Checkpoint:
    """The model after training on longer rows, until it finds needles at the new length and has not forgotten short
    rows.

    When the needle test fails at the length the model has, the switch is not made: the stage trains on at
    that length instead, with positions as they were.
    """
    shards = Shards(tokens.path)
    text = TextTokenizer.load(model.path)
    old = shape_in(model.path)
    present = min(old.context, settings.length)
    exam = Exam(shards, text, settings, present)
    before = exam.begin(load_transformer(model.path))
    switched = before.at(present).value >= settings.gate
    length = settings.length if switched else present
    made = go_on(
        work,
        model.path,
        _longer(old, settings) if switched else replace(old, context=max(old.context, settings.length)),
        optimizer=settings.optimizer,
        layout=settings.layout,
        speed=settings.speed,
    )
    steps_per_check = max(1, settings.check_tokens // settings.batch_tokens)
    ramp = _ramp(settings, length, steps_per_check)

    def enough(step: Step) -> bool:
        return step.number % steps_per_check == 0 and made.agree(lambda whole: exam.passes(whole, length))

    mix = (MixPhase(until=1.0, shares=settings.shares),)
    batches = token_batches(shards, mix, ramp, settings.seed, settings.long_first)
    steps = train(
        work,
        made.state,
        batches,
        loss=next_token,
        rate=lambda step: settings.peak_rate * min(1.0, (step + 1) / _WARMUP_STEPS),
        clip=settings.optimizer.clip,
        guard=settings.guard,
        hands=made.hands,
        micro_rows=settings.speed.micro_rows,
        flops_per_token=made.shape.training_flops(length),
        enough=enough,
    )
    whole = made.write(text, kind="base", moments=True)
    if whole is None:
        return Checkpoint(work.out)
    after = exam.last or exam.test(whole, length)
    losses = held_out_losses(whole, shards, length=length, workers=work.place.workers)
    seen = len(steps) * settings.batch_tokens
    work.figure("length", length)
    work.figure("switched", switched)
    work.figure("needle_before", before.to_row())
    work.figure("needle", after.to_row())
    work.figure("gate", {"asked": exam.asked, "found": after.at(length).value, "passed": exam.passed(after, length)})
    work.figure("short_loss", {"before": exam.short_before, "after": exam.short_loss(whole)})
    work.figure("tokens", seen)
    work.figure("flops", seen * made.shape.training_flops(length))
    work.figure("held_out", losses)
    work.figure("loss", weighted_loss(losses, settings.shares))
    verdict = "passed" if exam.passed(after, length) else "failed"
    work.figure("headline", f"needle at {length}: {after.at(length).value:.0%}, gate {verdict} after {seen:,} tokens")
    return Checkpoint(work.out)


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


@dataclass
class Exam:
    """Needle tests on held-out text, and the loss on rows of the length before. last: the newest grid."""

    shards: Shards
    text: TextTokenizer
    settings: LengthSettings
    present: int
    last: NeedleGrid | None = None
    short_before: float = 0.0

    def begin(self, model: Transformer) -> NeedleGrid:
        """What the model can do before the switch."""
        self.short_before = self.short_loss(model)
        return self.test(model, self.present)

    def short_loss(self, model: Transformer) -> float:
        """Nats per token on rows of the length before."""
        shares = self.settings.shares
        losses = held_out_losses(model, self.shards, length=self.present, tokens=_SHORT_TOKENS, sources=shares)
        return weighted_loss(losses, shares)

    def test(self, model: Transformer, length: int) -> NeedleGrid:
        """Needles at a half of `length` and at all of it."""
        stacks = list(haystacks(self.documents(), lambda t: len(self.text.encode(t)), lengths=(length // 2, length)))
        give_back()  # what steps took is not for the test to lie beside
        engine = Engine(model, self.text.stops, rows=_NEEDLE_ROWS)
        return needle_test(engine, self.text, stacks, chat=False)

    def passes(self, model: Transformer, length: int) -> bool:
        self.last = self.test(model, length)
        good = self.passed(self.last, length) and self.recovered(model)
        give_back()  # what the test took is not for the steps to keep
        model.train()
        return good

    def recovered(self, model: Transformer) -> bool:
        """Whether short rows are told as well as before the switch, within what is let pass."""
        if self.settings.recovered is None:
            return True
        return self.short_loss(model) <= self.short_before * (1 + self.settings.recovered)

    def passed(self, grid: NeedleGrid, length: int) -> bool:
        return all(grid.at(at).value >= self.asked for at in grid.lengths if at <= length)

    @property
    def asked(self) -> float:
        """The share of needles that ends the stage."""
        return self.settings.gate if self.settings.until is None else self.settings.until

    def documents(self) -> list[str]:
        return held_out_texts(self.shards, self.text, self.settings.text_sources)
