"""Longer contexts, one length after another, each switch gated by the needle test (3.4.2)."""

from __future__ import annotations

from dataclasses import dataclass, field

from herd.core.artifacts import Checkpoint, Tokens
from herd.core.settings import Positive, Rate, Share, settings
from herd.core.stage import Work, stage
from herd.evals.losses import held_out_losses, weighted_loss
from herd.evals.needle import NeedleGrid, haystacks, held_out_texts, needle_test
from herd.generate.engine import Engine
from herd.model.config import read_config
from herd.model.transformer import Transformer
from herd.pretrain.initial import token_batches
from herd.tokens.shards import Shards
from herd.tokens.tokenizer import TextTokenizer
from herd.train.checkpoint import continue_from, write_checkpoint
from herd.train.loop import Step, train
from herd.train.objectives import next_token
from herd.train.optimizer import AdamWSettings
from herd.train.schedule import BatchPhase, BatchRamp, MixPhase

# Few enough rows that the mask of one batch of long haystacks stays small.
_NEEDLE_ROWS = 16
_WARMUP_STEPS = 10  # the optimizer's moments are kept, so a short one will do


@settings
class LengthSettings:
    """One switch to a longer context.

    length: the new one. gate: share of needles to be found up to the present length before the switch, and
    up to the new one for the stage to end early. check_tokens: trained on between two tests.
    checks: how many tests at most; then the stage ends, passed or not. text_sources: held-out text of these
    is what needles are hidden in.
    """

    length: Positive
    batch_tokens: Positive
    check_tokens: Positive
    checks: Positive = 4
    gate: Share = 0.95
    peak_rate: Rate
    shares: dict[str, Share]
    text_sources: tuple[str, ...]
    optimizer: AdamWSettings = AdamWSettings()
    seed: int = 0


@stage(paper="3.4.2", version=1)
def extend_context(work: Work, model: Checkpoint, tokens: Tokens, *, settings: LengthSettings) -> Checkpoint:
    """The model after training on longer rows, until it finds needles at the new length.

    When the needle test fails at the length the model has, the switch is not made: the stage trains on at
    that length instead. Position encoding stays as it is. Differs: the report's second condition, that
    short evaluations recover, is reported as losses and does not gate.
    """
    shards = Shards(tokens.path)
    text = TextTokenizer.load(model.path)
    state = continue_from(model.path, settings.optimizer, context=settings.length)
    present = _context(model, settings.length)
    exam = Exam(shards, text, settings)
    before = exam.test(state.model, present)
    switched = before.at(present).value >= settings.gate
    length = settings.length if switched else present
    steps_per_check = max(1, settings.check_tokens // settings.batch_tokens)
    ramp = _ramp(settings, length, steps_per_check)

    def enough(step: Step) -> bool:
        return step.number % steps_per_check == 0 and exam.passes(state.model, length)

    batches = token_batches(shards, (MixPhase(until=1.0, shares=settings.shares),), ramp, settings.seed)
    steps = train(
        work,
        state,
        batches,
        loss=next_token,
        rate=lambda step: settings.peak_rate * min(1.0, (step + 1) / _WARMUP_STEPS),
        clip=settings.optimizer.clip,
        enough=enough,
    )
    write_checkpoint(work.out, state.model, text, kind="base", optimizer=state.optimizer)
    after = exam.last or exam.test(state.model, length)
    losses = held_out_losses(state.model, shards, length=length)
    seen = len(steps) * settings.batch_tokens
    work.figure("length", length)
    work.figure("switched", switched)
    work.figure("needle_before", before.to_row())
    work.figure("needle", after.to_row())
    work.figure("gate", {"asked": settings.gate, "found": after.at(length).value, "passed": exam.passed(after, length)})
    work.figure("tokens", seen)
    work.figure("flops", seen * state.model.shape.training_flops(length))
    work.figure("held_out", losses)
    work.figure("loss", weighted_loss(losses, settings.shares))
    verdict = "passed" if exam.passed(after, length) else "failed"
    work.figure("headline", f"needle at {length}: {after.at(length).value:.0%}, gate {verdict} after {seen:,} tokens")
    return Checkpoint(work.out)


def _context(model: Checkpoint, longest: int) -> int:
    return min(read_config(model.path)["max_position_embeddings"], longest)


def _ramp(settings: LengthSettings, length: int, steps_per_check: int) -> BatchRamp:
    total = settings.checks * steps_per_check * settings.batch_tokens
    return BatchRamp((BatchPhase(until=1.0, batch_tokens=settings.batch_tokens),), total, length)


@dataclass
class Exam:
    """Needle tests on held-out text. last: the newest one."""

    shards: Shards
    text: TextTokenizer
    settings: LengthSettings
    last: NeedleGrid | None = field(default=None)

    def test(self, model: Transformer, length: int) -> NeedleGrid:
        """Needles at a half of `length` and at all of it."""
        stacks = list(haystacks(self.documents(), lambda t: len(self.text.encode(t)), lengths=(length // 2, length)))
        engine = Engine(model, self.text.stops, rows=_NEEDLE_ROWS)
        return needle_test(engine, self.text, stacks, chat=False)

    def passes(self, model: Transformer, length: int) -> bool:
        self.last = self.test(model, length)
        model.train()
        return self.passed(self.last, length)

    def passed(self, grid: NeedleGrid, length: int) -> bool:
        return all(grid.at(at).value >= self.settings.gate for at in grid.lengths if at <= length)

    def documents(self) -> list[str]:
        return held_out_texts(self.shards, self.text, self.settings.text_sources)
