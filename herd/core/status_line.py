"""How far something is that takes a while, in one line, with the time that is left."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable

from herd.core.terminal import colour_stream, visible

# Without a terminal, a line every so often, so that a log file stays readable.
PLAIN_SECONDS = 20.0
_LIVE_SECONDS = 0.1


class StatusLine:
    """How far a command is, on standard error: one line that is written anew in a terminal, elsewhere a line every
    so often. words: of how much is done. quiet_seconds: before the first line; as between two lines when absent."""

    def __init__(
        self, title: str, *, words: Callable[[float], str] = "{:,.0f}".format, quiet_seconds: float | None = None
    ) -> None:
        self._title, self._words, self._quiet_seconds = title, words, quiet_seconds
        self._pace, self._shown = ProgressRate(), time.monotonic()
        self._stream = colour_stream(sys.stderr)  # what is no title of ours are numbers
        self._live = sys.stderr.isatty()

    def __call__(self, done: float, total: float) -> None:
        now = time.monotonic()
        left = self._pace.seconds_left(now, done, total)
        pause = _LIVE_SECONDS if self._live else PLAIN_SECONDS
        if now - self._shown < (pause if self._quiet_seconds is None else self._quiet_seconds):
            return
        self._shown, self._quiet_seconds = now, None
        words = f"{visible(self._title)}: {self._words(done)} of {self._words(total)}, {clock(left)} left"
        self._stream.write(f"\r{words}\033[K" if self._live else f"{words}\n")
        self._stream.flush()

    def clear(self) -> None:
        """Takes the line away where it can be."""
        if self._live:
            self._stream.write("\r\033[K")
            self._stream.flush()


class ProgressRate:
    """How fast a stage gets on, from its first report on: what that one counts, such as the steps before a resume or
    reading a model, says nothing about the rest."""

    def __init__(self) -> None:
        self._first: tuple[float, float, float] | None = None  # when, done, total

    def seconds_left(self, now: float, completed: float, total: float) -> float | None:
        """How long the rest will take at the pace so far; None before there is one, or without a total."""
        if self._first is None or self._first[2] != total or completed < self._first[1]:
            self._first = now, completed, total
        began, before, _ = self._first
        return (now - began) * (total - completed) / (completed - before) if total > 0 and completed > before else None


def clock(seconds: float | None) -> str:
    """`1:05` for 65 seconds, `1:01:05` with hours, `-:--` for None."""
    if seconds is None:
        return "-:--"
    minutes, remainder = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{remainder:02}" if hours else f"{minutes}:{remainder:02}"
