"""When a training is saved, what is kept of it, when garbage is collected, and traces of single steps."""

from __future__ import annotations

import gc
import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from herd.core.stage import RunOptions
from herd.run.gc_pause import gc_paused

# Device hours between two unexpected ends of a training: 419 in 54 days on 16,384 devices (Llama 3, 3.3.4, table 5).
DEVICE_HOURS_PER_FAILURE = 16_384 * 54 * 24 / 419
# A small machine hardly ever breaks, but it is switched off, updated or taken away.
MAX_HOURS_PER_FAILURE = 24.0
# Seconds between checkpoints, whatever the formula says; the least is also the first, before a cost is known.
MIN_INTERVAL_SECONDS, MAX_INTERVAL_SECONDS = 15.0, 1800.0


def hours_between_failures(devices: int) -> float:
    """Mean time between failures of a training on so many devices."""
    return min(MAX_HOURS_PER_FAILURE, DEVICE_HOURS_PER_FAILURE / devices)


def young_interval(cost: float, hours: float) -> float:
    """Seconds between checkpoints that lose the least time, to saving and to what is done twice after a failure.

    cost: seconds that training stands still for a checkpoint. hours: mean time between failures.
    Source: Young 1974 (A first order approximation to the optimum checkpoint interval): sqrt(2 cost MTBF).
    """
    return math.sqrt(2 * cost * hours * 3600)


class SaveSchedule:
    """When to save: every `seconds`, or as Young's formula has it for what saving costs here.

    keep_every: steps of which every such multiple is saved and kept; 0 for none. clock: seconds.
    """

    def __init__(
        self, seconds: float | None, keep_every: int, devices: int, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._seconds, self._clock = seconds, clock
        self.keep_every, self._hours = keep_every, hours_between_failures(devices)
        self._interval = MIN_INTERVAL_SECONDS if seconds is None else seconds
        self._saved = clock()

    @property
    def interval(self) -> float:
        """Seconds between two checkpoints."""
        return self._interval

    def is_due(self, step: int) -> bool:
        """Whether a checkpoint is wanted after `step`, which is counted from 1."""
        return self._is_kept(step) or self._clock() - self._saved > self._interval

    def _is_kept(self, step: int) -> bool:
        return self.keep_every > 0 and step % self.keep_every == 0

    @contextmanager
    def saving(self) -> Iterator[None]:
        """Around what training waits for while it saves."""
        began = self._clock()
        yield
        self._saved = self._clock()
        if self._seconds is None:
            self._interval = min(
                MAX_INTERVAL_SECONDS, max(MIN_INTERVAL_SECONDS, young_interval(self._saved - began, self._hours))
            )


@contextmanager
def collect_garbage(every_steps: int) -> Iterator[Callable[[int], None]]:
    """Gives a function that is called with every step and collects garbage at multiples of `every_steps`; between them
    Python does not. With 0 Python collects when it likes.

    One rank that collects holds up all others, and ranks that collect by themselves do so at different steps.
    """
    if every_steps == 0:
        yield lambda step: None
        return

    def after(step: int) -> None:
        if step % every_steps == 0:
            gc.collect(1)

    with gc_paused():
        gc.collect()
        yield after


class StepTrace:
    """A trace of some steps that chrome://tracing and Perfetto show: time of every operator, on CPU and GPU.

    steps: the first step, counted from 1, and how many; None for no trace. folder: gets `trace-FIRST.json`.
    """

    def __init__(self, steps: tuple[int, int] | None, folder: Path) -> None:
        self._steps, self._folder = steps, folder
        self._profiler: Any = None

    def before(self, step: int) -> None:
        """Is called when a step begins."""
        if self._steps is None or self._profiler is not None or step != self._steps[0]:
            return
        import torch
        from torch.profiler import ProfilerActivity, profile

        activities = [ProfilerActivity.CPU] + [ProfilerActivity.CUDA] * torch.cuda.is_available()
        self._profiler = profile(activities=activities, record_shapes=True)
        self._profiler.__enter__()

    def after(self, step: int) -> None:
        """Is called when a step is done; writes the file after the last one."""
        if self._profiler is not None and self._steps is not None and step >= sum(self._steps) - 1:
            self.close()

    def close(self) -> None:
        """Writes what there is, of a training that ends within its traced steps too."""
        if self._profiler is None or self._steps is None:
            return
        self._profiler.__exit__(None, None, None)
        self._folder.mkdir(parents=True, exist_ok=True)
        self._profiler.export_chrome_trace(str(self._folder / f"trace-{self._steps[0]}.json"))
        self._profiler, self._steps = None, None


def save_schedule(options: RunOptions, devices: int) -> SaveSchedule:
    """As a run asks for it. devices: ranks that train together, one of which ends all when it fails."""
    return SaveSchedule(options.save_every_seconds, options.keep_every_steps, devices)
