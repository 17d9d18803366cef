"""How well models predict text, and which step of a run made them predict which text better or worse."""

from __future__ import annotations

import math
from dataclasses import dataclass

from herd.evals.intervals import Interval, ratio_mean, unpaired_gain
from herd.evals.results import EvaluationResult, TextResult
from herd.train.results import HeldOutLoss

_LARGEST_EXPONENT = 700.0  # of a number that a float still holds
# Of a loss; rows that are compared each with itself show smaller changes too, which say nothing about a model.
LEAST_CHANGE = 0.001


@dataclass(frozen=True)
class TextLoss:
    """How well a model predicts some text. bits: a byte of it, with a 95 % interval where that is known. nats: a token.
    tokens: on how many it was measured; 0 where they were not counted. parts, sizes: the nats of its rows or texts, and
    how large these are. text: what was read, by which two models are known to have read the same."""

    bits_per_byte: float
    nats_per_token: float
    bits: Interval | None
    tokens: int
    parts: tuple[float, ...]
    sizes: tuple[int, ...]
    text: str

    @classmethod
    def of_source(cls, loss: HeldOutLoss, text: str) -> TextLoss:
        bits = None
        if loss.low is not None and loss.high is not None and loss.nats_per_token > 0:
            factor = loss.bits_per_byte / loss.nats_per_token
            bits = Interval(loss.bits_per_byte, factor * loss.low, factor * loss.high)
        return cls(
            loss.bits_per_byte, loss.nats_per_token, bits, loss.tokens, loss.row_nats, loss.row_tokens, text
        )  # fmt: skip

    @classmethod
    def of_task(cls, result: TextResult, text: str) -> TextLoss:
        bits = Interval(result.bits_per_byte, result.low, result.high) if result.questions > 1 else None
        return cls(
            result.bits_per_byte, result.nats_per_token, bits, 0, result.text_nats, result.text_bytes, text
        )  # fmt: skip

    @property
    def perplexity(self) -> float:
        """Of a token."""
        return math.exp(min(self.nats_per_token, _LARGEST_EXPONENT))

    @property
    def perplexity_interval(self) -> Interval | None:
        """Of a token, over the same rows as the bits a byte."""
        if self.bits is None:
            return None
        nats = (self.nats_per_token * bound / self.bits_per_byte for bound in self.bits)
        return Interval(*(math.exp(min(value, _LARGEST_EXPONENT)) for value in nats))

    def change_from(self, before: TextLoss) -> Interval | None:
        """By what share of itself the loss rose: paired over rows where both models read the same ones, else from both
        intervals of bits a byte; None where one of them has none."""
        same = self.text == before.text and self.sizes == before.sizes and len(self.sizes) > 1
        if same and sum(before.parts) > 0:
            rises = [after - was for after, was in zip(self.parts, before.parts, strict=True)]
            return ratio_mean(rises, before.parts, least=-1.0)
        if self.bits is None or before.bits is None or before.bits_per_byte <= 0:
            return None
        return Interval(*(bound / before.bits_per_byte for bound in unpaired_gain(before.bits, self.bits)))


def text_losses(result: EvaluationResult, packed: str) -> dict[str, TextLoss]:
    """Of every source of held-out text, and of every task that is text, under its name. packed: the key of the tokens
    whose held-out text was read."""
    losses = {source: TextLoss.of_source(loss, packed) for source, loss in result.held_out.items()}
    for name, task in result.tasks.items():
        if isinstance(task, TextResult):
            losses[name if name not in losses else f"{name} (task)"] = TextLoss.of_task(task, name)
    return losses


@dataclass(frozen=True)
class TextChange:
    """What a step did to how well some text is predicted. rise: of the loss, as a share of what it was; above 0 is
    worse. A change counts where it is more than its interval, and at least `LEAST_CHANGE`."""

    step: str
    earlier: str
    name: str
    before: TextLoss
    after: TextLoss
    rise: Interval

    @property
    def is_worse(self) -> bool:
        return self.rise.low > 0 and self.rise.value >= LEAST_CHANGE

    @property
    def is_better(self) -> bool:
        return self.rise.high < 0 and self.rise.value <= -LEAST_CHANGE
