"""Which source comes next: the one that is furthest behind its share of the tokens.

Every source's rows stand at fixed places of its own text, so each has a time, in tokens of all sources, at which its
middle is due; rows come in the order of their times. That is weighted fair queueing, and like it needs no state: the
order is the same for any number of readers and after any restart.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from herd.core.errors import DataError
from herd.train.rows import GrowingArray
from herd.train.schedule import MixPhase

# Rows sorted at once: few, so that a short run packs little that it never reads.
BLOCK = 64
_TRIES = 64  # equal steps in which the length of a run in tokens is looked for

Floats = NDArray[np.float64]


class RowSource(Protocol):
    """A source's rows, epoch after epoch."""

    def midpoints(self, tokens: float) -> Floats:
        """How many of the source's tokens lie before the middle of each row, of all rows whose middle lies before
        `tokens` and of one more at least."""
        ...


class Mixture:
    """Which source the global row `number` is taken from, and which of that source's rows it is.

    A source's tokens are its share of all that were given so far, to within half a row of every source; a phase ends
    when its share `until` of the run's tokens is given. rows: in the whole run. length: tokens that a row can hold.
    Source: Demers et al. 1989 (Analysis and Simulation of a Fair Queueing Algorithm), the order of finishing times;
    here of midpoints, so that a source is as often ahead as behind.
    """

    def __init__(self, phases: tuple[MixPhase, ...], rows: int, length: int, sources: Mapping[str, RowSource]) -> None:
        self.names, self.length = sorted(sources), length
        self._sources = [sources[name] for name in self.names]
        weights = np.empty((len(self.names), len(phases)))
        for number, phase in enumerate(phases):
            weights[:, number] = [phase.mixture_weights.get(name, 0.0) for name in self.names]
        self._weights = weights / weights.sum(axis=0)
        until = np.array([phase.until for phase in phases])
        self._ends = until * self._tokens(until, rows) if len(phases) > 1 else np.array([np.inf])
        self._times = [GrowingArray(np.float64) for _ in self.names]
        self._block: tuple[int, int, list[tuple[str, int]]] = (0, 0, [])

    def source_of(self, number: int) -> tuple[str, int]:
        _, start, order = self._block
        if not start <= number < start + len(order):
            block = self._block_of(number)
            start, order = int(self._counts(block).sum()), self._order(block)
            self._block = block, start, order
        return order[number - start]

    def row_counts(self, rows: int) -> dict[str, int]:
        """How many of the first `rows` rows come from every source."""
        if rows == 0:
            return dict.fromkeys(self.names, 0)
        self.source_of(rows - 1)
        block, start, order = self._block
        counts = dict(zip(self.names, self._counts(block).tolist(), strict=True))
        for name, row in order[: rows - start]:
            counts[name] = row + 1
        return counts

    def _block_of(self, number: int) -> int:
        """The stretch of BLOCK rows' tokens in which the global row `number` is due."""
        low, start, _ = self._block
        if number < start:
            low = 0
        step = 1
        while (rows := int(self._counts(low + step).sum())) <= number:
            low += step
            # As far again as rows so far would lead, less a tenth: what is packed too far is packed in vain.
            step = max(1, int(0.9 * (number - rows) * low / rows)) if rows else 2 * step
        high = low + step
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (low, middle) if int(self._counts(middle).sum()) > number else (middle, high)
        return low

    def _counts(self, block: int) -> NDArray[np.int64]:
        """The rows of each source that are due before a block."""
        time = float(block * BLOCK * self.length)
        return np.array([np.searchsorted(self._due(n, time), time) for n in range(len(self.names))])

    def _order(self, block: int) -> list[tuple[str, int]]:
        """The rows due in a block, by time; of the same time, by name."""
        turns = []
        for n, (first, last) in enumerate(zip(self._counts(block), self._counts(block + 1), strict=True)):
            times = self._times[n].values[first:last].tolist()
            turns += [(time, n, int(first) + at) for at, time in enumerate(times)]
        return [(self.names[n], row) for _, n, row in sorted(turns)]

    def _due(self, source: int, time: float) -> Floats:
        """When the rows of a source are due, of all that are before `time`."""
        times, source_tokens = self._times[source], self._source_tokens(source, time)
        while not len(times) or times.values[-1] <= time:
            midpoints = self._sources[source].midpoints(source_tokens)
            times.extend(self._time_of(source, midpoints[len(times) :]))
            source_tokens += self.length
        return times.values

    def _source_tokens(self, source: int, time: float) -> float:
        """The tokens that are a source's share of the first `time` of all; past the run the last phase goes on."""
        starts = np.append(0.0, self._ends[:-1])
        ends = np.append(self._ends[:-1], np.inf)
        return float((self._weights[source] * np.clip(np.minimum(time, ends) - starts, 0, None)).sum())

    def _time_of(self, source: int, source_tokens: Floats) -> Floats:
        """After how many tokens of all `source_tokens` are a source's share; never where it has none to the end."""
        starts, weights = np.append(0.0, self._ends[:-1]), self._weights[source]
        phase_tokens = np.append(0.0, np.cumsum(weights[:-1] * np.diff(starts)))
        # A phase in which the source has no share begins and ends at the same count, and so is passed over.
        phase = np.searchsorted(phase_tokens, source_tokens) - 1
        with np.errstate(divide="ignore"):
            return starts[phase] + (source_tokens - phase_tokens[phase]) / weights[phase]

    def _tokens(self, until: Floats, rows: int) -> float:
        """The tokens of a run of so many rows, which follow from the mix: rows are not all full."""
        overall = (self._weights * np.diff(until, prepend=0.0)).sum(axis=1)
        parts = [(source, weight) for source, weight in zip(self._sources, overall, strict=True) if weight > 0]
        max_tokens = (rows + 1 + len(self.names)) * self.length
        for part in range(1, _TRIES + 1):
            tokens = max_tokens * part / _TRIES
            if (
                sum(
                    int(np.searchsorted(source.midpoints(tokens * weight), tokens * weight)) for source, weight in parts
                )
                > rows
            ):
                break
        due = [source.midpoints(tokens * weight) / weight for source, weight in parts]
        times = np.sort(np.concatenate([row_times[row_times < tokens] for row_times in due]))
        # Between the last row and the first that would come after it.
        return float(times[max(0, rows - 1) : rows + 1].mean())


def cap_weights(weights: Floats, caps: Floats) -> Floats:
    """`weights`, made to sum to one, with none above `caps`; what is cut off goes to the others in proportion.

    Raises DataError when all caps together are less than one: there are too few tokens whatever the mix.
    """
    weights = weights / weights.sum()
    if caps.sum() < 1 - 1e-12:
        raise DataError(
            f"all sources together hold only {caps.sum():.0%} of the tokens asked for within the epochs allowed; train "
            "on fewer tokens or allow more epochs"
        )
    fixed = np.zeros(len(weights), bool)
    for _ in weights:
        over = ~fixed & (weights > caps + 1e-15)
        if not over.any():
            break
        fixed |= over
        weights = np.where(fixed, caps, weights)
        free_weight, remaining = weights[~fixed].sum(), 1 - caps[fixed].sum()
        if free_weight > 0:
            weights = np.where(fixed, weights, weights * remaining / free_weight)
        elif (~fixed).any():
            weights = np.where(fixed, weights, remaining / (~fixed).sum())
    return weights / weights.sum()
