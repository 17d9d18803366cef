"""What changes as training goes on: learning rate, batch size, mix of sources.

Everything is a pure function of the step, so that a resumed run cannot drift.
"""

from __future__ import annotations

import bisect
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import Literal

from herd.core.errors import SettingsError
from herd.core.settings import AddedLater, MixtureWeights, PositiveInt, Share, settings

LrSchedule = Callable[[int], float]
LrScheduleName = Literal["cosine", "linear", "constant", "wsd"]

_BY_SIZE = math.log(5e-4 / 1e-5) / math.log(405e9 / 1e6)


def lr_by_size(num_params: int) -> float:
    """The peak learning rate of fine-tuning where none is named: 1e-5 at 405 billion weights (Llama 3, 4.1.3), 5e-4 at
    a million (`tiny`), and a power law through these two: 1.1e-4 at 135 million, 3.3e-5 at 8 billion. No more than a
    start: with adapters, or much larger batches, try several times as much."""
    return 1e-5 * (405e9 / num_params) ** _BY_SIZE


def lr_schedule(
    name: LrScheduleName, steps: int, *, lr: float, warmup: float = 0.0, min_lr_ratio: float = 0.0,
    decay_ratio: float = 0.1,
) -> LrSchedule:  # fmt: skip
    """The learning rate by step, counted from 0.

    lr: the peak. warmup: below 1 a share of all steps, one at least, else so many. min_lr_ratio: the rate at the end,
    as a share of the peak; a constant rate has no end. decay_ratio: of `wsd`, the last share of the steps, over which
    the rate falls.
    """
    first = round(warmup) if warmup >= 1 or not warmup else max(1, round(warmup * steps))
    if name == "cosine":
        return partial(warmup_cosine, peak=lr, warmup=first, total=steps, floor=min_lr_ratio)
    if name == "linear":
        return partial(warmup_linear, peak=lr, warmup=first, total=steps, floor=min_lr_ratio)
    if name == "wsd":
        fall = {"decay_share": decay_ratio, "floor": min_lr_ratio}
        return partial(warmup_stable_decay, peak=lr, warmup=first, total=steps, **fall)
    return lambda step: lr * min(1.0, (step + 1) / first) if first else lr


def warmup_cosine(step: int, *, peak: float, warmup: int, total: int, floor: float) -> float:
    """The rate at `step` (counted from 0): linear up to `peak`, then half a cosine down to `floor` x peak.

    Source: Llama 3, 3.4.1. The report does not say whether its 1.2M steps hold the warm-up; here they do.
    """
    if step < warmup:
        return peak * (step + 1) / warmup
    progress = min(1.0, (step - warmup) / max(1, total - warmup))
    return peak * (floor + (1 - floor) * 0.5 * (1 + math.cos(math.pi * progress)))


def warmup_linear(step: int, *, peak: float, warmup: int, total: int, floor: float) -> float:
    """The rate at `step`: linear up to `peak`, then linear down to `floor` x peak. Source: Llama 3, 3.4.3 (to zero)."""
    if step < warmup:
        return peak * (step + 1) / warmup
    remaining = 1 - min(1.0, (step - warmup) / max(1, total - warmup))
    return peak * (floor + (1 - floor) * remaining)


def warmup_stable_decay(
    step: int, *, peak: float, warmup: int, total: int, decay_share: float, floor: float = 0.0
) -> float:
    """The rate at `step`: linear up, held at `peak`, linear to `floor` x peak over the last `decay_share` of the steps.

    Source: Hu et al. 2024 (MiniCPM), section 4.
    """
    if step < warmup:
        return peak * (step + 1) / warmup
    decay = max(1, round(total * decay_share))
    return peak * (floor + (1 - floor) * min(1.0, (total - step) / decay))


@settings
class BatchPhase:
    """A batch of `batch_tokens` until the share `until` of all tokens is seen. length: tokens in a row of this phase;
    the run's when absent."""

    until: Share
    batch_tokens: PositiveInt
    length: AddedLater[PositiveInt | None] = None


@settings
class MixPhase:
    """Sources in these shares, of tokens, until the share `until` of all tokens."""

    until: Share
    mixture_weights: MixtureWeights

    @property
    def sources(self) -> set[str]:
        """Those with a weight."""
        return {name for name, weight in self.mixture_weights.items() if weight > 0}


@dataclass(frozen=True)
class RampPhase:
    """Steps that take equally many rows of one length, counted from `first_step` and `first_row`."""

    first_step: int
    first_row: int
    steps: int
    rows: int
    length: int

    @property
    def tokens(self) -> int:
        """Of all its rows."""
        return self.steps * self.rows * self.length


@dataclass(frozen=True)
class BatchRamp:
    """How many rows each step takes, of `length` tokens where a phase does not say another. Source: Llama 3, 3.4.1
    (4M tokens in rows of 4,096; 8M and 16M in rows of 8,192)."""

    phases: tuple[BatchPhase, ...]
    tokens: int
    length: int

    @cached_property
    def plan(self) -> tuple[RampPhase, ...]:
        """The phases in steps and rows. Raises SettingsError for a batch smaller than a row."""
        plan, step, row, progress = [], 0, 0, 0.0
        for phase in self.phases:
            length = phase.length or self.length
            rows = phase.batch_tokens // length
            if rows == 0:
                raise SettingsError(
                    f"batch_tokens {phase.batch_tokens} holds no row of {length} tokens; try batch_tokens {length}"
                )
            steps = max(0, round((phase.until - progress) * self.tokens / (rows * length)))
            plan.append(RampPhase(step, row, steps, rows, length))
            step, row, progress = step + steps, row + steps * rows, phase.until
        return tuple(plan)

    @property
    def steps(self) -> int:
        return self.plan[-1].first_step + self.plan[-1].steps

    @property
    def rows(self) -> int:
        return self.plan[-1].first_row + self.plan[-1].steps * self.plan[-1].rows

    @property
    def trained_tokens(self) -> int:
        """Of all rows: `tokens`, to within half a batch of every phase."""
        return sum(phase.tokens for phase in self.plan)

    @property
    def tokens_by_length(self) -> dict[int, int]:
        """How many of these are read in rows of which length."""
        counted: dict[int, int] = {}
        for phase in self.plan:
            counted[phase.length] = counted.get(phase.length, 0) + phase.tokens
        return {length: tokens for length, tokens in counted.items() if tokens}

    @property
    def batch_shapes(self) -> dict[tuple[int, int], int]:
        """How many steps take so many rows of such a length."""
        counted: dict[tuple[int, int], int] = {}
        for phase in self.plan:
            shape = (phase.rows, phase.length)
            counted[shape] = counted.get(shape, 0) + phase.steps
        return {shape: steps for shape, steps in counted.items() if steps}

    @property
    def batches(self) -> dict[int, int]:
        """How many steps take so many rows. Rows shorter than `length` count as so many of `length` as hold their
        tokens."""
        counted: dict[int, int] = {}
        for (rows, length), steps in self.batch_shapes.items():
            whole_rows = max(1, rows * length // self.length)
            counted[whole_rows] = counted.get(whole_rows, 0) + steps
        return counted

    def phase_of(self, step: int) -> RampPhase:
        """The phase that `step` belongs to."""
        return self.plan[bisect.bisect_right([phase.first_step for phase in self.plan], step) - 1]

    def rows_of(self, step: int) -> range:
        """Global numbers of the rows that `step` trains on."""
        phase = self.phase_of(step)
        start = phase.first_row + (step - phase.first_step) * phase.rows
        return range(start, start + phase.rows)


def mix_within(phases: Sequence[MixPhase], start: float, end: float) -> tuple[MixPhase, ...]:
    """What of a mix lies between two shares of a run's tokens, as the mix of that part alone."""
    if (start, end) == (0.0, 1.0):
        return tuple(phases)
    inside = [phase for phase, first in zip(phases, (0.0, *(p.until for p in phases)), strict=False) if first < end]
    inside = [phase for phase in inside if phase.until > start] or list(phases[-1:])
    untils = [min(1.0, (phase.until - start) / (end - start)) for phase in inside[:-1]]
    return tuple(replace(phase, until=until) for phase, until in zip(inside, (*untils, 1.0), strict=True))


def check_phases(phases: Sequence[BatchPhase] | Sequence[MixPhase], name: str) -> None:
    """Raises SettingsError unless the phases go up and end at 1."""
    ends = [phase.until for phase in phases]
    if not ends or ends != sorted(set(ends)) or ends[-1] != 1.0:
        raise SettingsError(f"{name}: `until` must rise and end at 1.0, not {ends}")
