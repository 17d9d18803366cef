"""Which steps are not taken: those that are not finite, and those whose gradient is far out of line."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence

from herd.core.settings import NonNegativeInt, PositiveFloat, PositiveInt, settings

# The median deviation of a normal distribution, as a share of its standard deviation.
_MEDIAN_DEVIATION = 0.6745
_JUMP_DEVIATIONS, _JUMP_WINDOW = 10.0, 32


@settings
class GuardSettings:
    """When a step is skipped, when training goes back, and when it gives up.

    A step whose loss or gradient is not finite never counts. sigma_factor: skip a step too when its gradient norm lies
    so many robust standard deviations above the median of the last `window` that were taken; absent, none is skipped
    for that. max_consecutive_skips: after so many skipped steps one after another the run goes back to its last
    checkpoint and goes on with the batches that follow, `max_rollbacks` times at most; then it ends with an error.
    Source: skipping, OLMo 2 (2024), section 3.1; going back and past the batches, PaLM (2022), section 5.1.
    Differs: median and median deviation instead of mean and deviation, and what was skipped never enters the window:
    with means, one number that is not finite makes every later step look like a spike.
    """

    sigma_factor: PositiveFloat | None = None
    window: PositiveInt = 128
    max_consecutive_skips: PositiveInt = 8
    max_rollbacks: NonNegativeInt = 1

    def is_spike(self, norm: float, history: Sequence[float]) -> bool:
        """Whether a step with this gradient norm is out of line with those taken before it."""
        return self.sigma_factor is not None and is_outlier(norm, history[-self.window :], self.sigma_factor)


GUARD = GuardSettings()


def is_outlier(value: float, history: Sequence[float], deviations: float) -> bool:
    """Whether `value` lies `deviations` robust standard deviations above the median of `history`.

    Fewer than 16 numbers judge nothing. The deviation counts as a hundredth of the median at least, so that steps
    which are all alike do not make every small change a spike.
    """
    if len(history) < 16:
        return False
    middle = statistics.median(history)
    spread = statistics.median(abs(past - middle) for past in history) / _MEDIAN_DEVIATION
    return value > middle + deviations * max(spread, 0.01 * middle)


class LossJumps:
    """Steps whose loss lies far above those before it, which the log warns of. steps: their numbers; of several in a
    row the first."""

    def __init__(self) -> None:
        self.steps: list[int] = []
        self._losses: list[float] = []
        self._inside = False

    def add(self, number: int, loss: float) -> bool:
        """Whether a jump begins here."""
        jump = is_outlier(loss, self._losses, _JUMP_DEVIATIONS)
        begins, self._inside = jump and not self._inside, jump
        if begins:
            self.steps.append(number)
        if math.isfinite(loss):
            self._losses = [*self._losses, loss][-_JUMP_WINDOW:]
        return begins


def all_finite(*numbers: float) -> bool:
    return all(math.isfinite(number) for number in numbers)
