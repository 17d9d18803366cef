"""Where work runs. A stage asks its place for workers and never knows which machines they are on."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from typing import Protocol, TypeVar

from herd.core import processes

T = TypeVar("T")
R = TypeVar("R")


class Place(Protocol):
    """What a place offers. Results never depend on the place or on its number of workers."""

    @property
    def workers(self) -> int:
        """How many may work at once now. It rises when other stages end and falls when others start."""
        ...

    def map(self, kernel: Callable[[T], R], shards: Iterable[T]) -> Iterator[R]:
        """`kernel` of every shard, in the order of the shards. Kernel and shards must pickle."""
        ...


class LocalPlace:
    """Processes on this machine.

    allowed: how many workers there may be now; with 1 everything happens in the calling process.
    """

    def __init__(self, allowed: Callable[[], int] = lambda: 1) -> None:
        self._allowed = allowed

    @property
    def workers(self) -> int:
        return self._allowed()

    def map(self, kernel: Callable[[T], R], shards: Iterable[T]) -> Iterator[R]:
        todo = list(shards)
        workers = min(self.workers, len(todo))
        if workers < 2:
            yield from map(kernel, todo)
            return
        spawn = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(
            workers, spawn, initializer=processes.die_with_parent, initargs=(os.getpid(),)
        ) as pool:
            yield from pool.map(kernel, todo)


def cores() -> int:
    """How many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
