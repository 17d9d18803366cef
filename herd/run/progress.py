"""What a person sees while a recipe runs: a line per stage, with time left."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from typing import Any, Protocol

from herd.core.status_line import PLAIN_SECONDS, ProgressRate, clock
from herd.core.terminal import colour_stream, visible


class Display(Protocol):
    """Is called with everything that happens in a run. Keys are those of artifacts. show_titles: what they are called,
    before anything else."""

    def show_titles(self, titles: Mapping[str, str]) -> None: ...
    def begin(self, total: int, num_complete: int) -> None: ...
    def start(self, key: str) -> None: ...
    def progress(self, key: str, completed: float, total: float, words: str) -> None: ...
    def finish(self, key: str, metadata: dict[str, Any]) -> None: ...
    def warn(self, text: str) -> None: ...
    def tick(self) -> None: ...
    def end(self) -> None: ...


class SilentDisplay:
    """Shows nothing."""

    def show_titles(self, titles: Mapping[str, str]) -> None: ...
    def begin(self, total: int, num_complete: int) -> None: ...
    def start(self, key: str) -> None: ...
    def progress(self, key: str, completed: float, total: float, words: str) -> None: ...
    def finish(self, key: str, metadata: dict[str, Any]) -> None: ...
    def warn(self, text: str) -> None: ...
    def tick(self) -> None: ...
    def end(self) -> None: ...


class TextDisplay(SilentDisplay):
    """Lines of text, for logs and pipes."""

    def __init__(self) -> None:
        self._rates: dict[str, ProgressRate] = {}
        self._shown_at: dict[str, float] = {}
        self._total = self._completed = 0
        self._titles: Mapping[str, str] = {}

    def show_titles(self, titles: Mapping[str, str]) -> None:
        self._titles = titles

    def begin(self, total: int, num_complete: int) -> None:
        self._total, self._completed = total, num_complete
        if num_complete:
            self._say(f"{num_complete} of {total} stages are made already")

    def start(self, key: str) -> None:
        self._shown_at[key] = time.monotonic()
        self._rates[key] = ProgressRate()
        self._say(f"{self._title(key)}: started")

    def progress(self, key: str, completed: float, total: float, words: str) -> None:
        now = time.monotonic()
        remaining = self._rates[key].seconds_left(now, completed, total)
        if now - self._shown_at[key] >= PLAIN_SECONDS:
            self._shown_at[key] = now
            title = self._title(key)
            self._say(
                f"{title}: {completed / total:.0%} {words}, {clock(remaining)} left" if total else f"{title}: {words}"
            )

    def finish(self, key: str, metadata: dict[str, Any]) -> None:
        self._completed += 1
        self._say(f"[{self._completed}/{self._total}] {summary(metadata, self._title(key))}")

    def warn(self, text: str) -> None:
        self._say(f"warning: {text}")

    def _title(self, key: str) -> str:
        return self._titles.get(key, key)

    def _say(self, text: str) -> None:
        print(text, flush=True)


class LiveDisplay:
    """Bars that move, for a terminal."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

        self._bars = Progress(
            TextColumn("{task.description}", justify="left"),
            BarColumn(bar_width=24),
            TextColumn("{task.fields[left]:>7}"),
            TimeElapsedColumn(),
            TextColumn("[dim]{task.fields[words]}"),
            # The bars steer the terminal themselves; what others wrote in them goes through `_plain`.
            console=Console(highlight=False, file=colour_stream(sys.stdout)),
        )
        self._tasks: dict[str, Any] = {}
        self._rates: dict[str, ProgressRate] = {}
        self._titles: Mapping[str, str] = {}
        self._completed = self._total = 0
        self._overall: Any = None

    def show_titles(self, titles: Mapping[str, str]) -> None:
        self._titles = titles

    def begin(self, total: int, num_complete: int) -> None:
        self._total, self._completed = total, num_complete
        if num_complete:
            self._bars.console.print(f"[dim]{num_complete} of {total} stages are made already[/]")
        self._overall = self._bars.add_task("[bold]recipe", total=total, completed=num_complete, left="", words="")
        self._bars.start()

    def start(self, key: str) -> None:
        self._rates[key] = ProgressRate()
        title = self._titles.get(key, key.rpartition("-")[0])
        self._tasks[key] = self._bars.add_task(_plain(title), total=None, left="", words="")

    def progress(self, key: str, completed: float, total: float, words: str) -> None:
        remaining = self._rates[key].seconds_left(time.monotonic(), completed, total)
        self._bars.update(
            self._tasks[key], completed=completed, total=total or None, left=clock(remaining), words=_plain(words)
        )

    def finish(self, key: str, metadata: dict[str, Any]) -> None:
        self._bars.remove_task(self._tasks.pop(key))
        self._completed += 1
        self._bars.update(self._overall, completed=self._completed, words=f"{self._completed} of {self._total} stages")
        self._bars.console.print(f"[green]✓[/] {_plain(summary(metadata, self._titles.get(key, '')))}")

    def warn(self, text: str) -> None:
        self._bars.console.print(f"[yellow]warning:[/] {_plain(text)}")

    def tick(self) -> None: ...

    def end(self) -> None:
        self._bars.stop()


def _plain(text: str) -> str:
    """`text` as rich shows it, letter for letter: no markup, and nothing that steers."""
    from rich.markup import escape

    return escape(visible(text))


def display() -> Display:
    """The display that suits where output goes."""
    return LiveDisplay() if sys.stdout.isatty() else TextDisplay()


def summary(metadata: dict[str, Any], title: str = "") -> str:
    """One line about an artifact: its title, the key when there is none, the seconds it took, its headline."""
    seconds, headline = metadata["cost"]["seconds"], metadata.get("headline", "")
    return f"{title or metadata['key']} {seconds:.1f} s  {headline}".rstrip()
