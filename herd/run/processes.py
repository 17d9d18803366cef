"""Processes that never outlive the one that started them, and what they cost."""

from __future__ import annotations

import contextlib
import ctypes
import os
import resource
import signal
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass

PR_SET_PDEATHSIG = 1


def die_with_parent(parent: int) -> None:
    """Ends this process as soon as the process `parent` is gone, also after its kill -9.

    Two runs must never write to one folder, and a killed run cannot tell its workers to stop.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    threading.Thread(target=_watch, args=(parent,), daemon=True).start()


def _watch(parent: int) -> None:
    # For systems without the signal, and for a parent that died before the signal was asked for.
    while os.getppid() == parent:
        time.sleep(0.5)
    os._exit(1)


_stop = threading.Event()


def handle_sigterm() -> None:
    """From now on SIGTERM is an order to save and leave, which long work asks about with `stop_requested`."""
    signal.signal(signal.SIGTERM, lambda *_: _stop.set())


@contextlib.contextmanager
def sigterm_as_request() -> Iterator[None]:
    """As `handle_sigterm`, until the end of the block; nothing in a thread, which hears no signals."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.getsignal(signal.SIGTERM)
    handle_sigterm()
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
        _stop.clear()


def stop_requested() -> bool:
    return _stop.is_set()


@contextlib.contextmanager
def block_interrupts() -> Iterator[None]:
    """Holds Ctrl-C back until the end of the block; a process started inside never hears it.

    The new process inherits the mask before it runs a line of its own: Ctrl-C, which a terminal sends to
    every process of a command, reaches only the one that started the others and ends them.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@dataclass(frozen=True)
class Usage:
    """Clock and processor time in seconds, memory in bytes, of this process and its children."""

    seconds: float
    cpu_seconds: float
    peak_bytes: int


class Meter:
    """Measures what the work between two moments costs."""

    def __init__(self) -> None:
        trim_memory()
        reset_peak()
        self._clock, self._cpu = time.monotonic(), _cpu_seconds()

    def read(self) -> Usage:
        return Usage(time.monotonic() - self._clock, _cpu_seconds() - self._cpu, peak_bytes())


def _cpu_seconds() -> float:
    usages = [resource.getrusage(target) for target in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def trim_memory() -> None:
    """Returns what is freed to the system, where the allocator can (glibc): what one stage leaves is not the next
    one's."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)


def held_bytes() -> int:
    """What this process holds of its own now: no code, and no files mapped into memory. 0 where the system does not
    say (Linux does)."""
    with contextlib.suppress(OSError, StopIteration), open("/proc/self/status") as file:
        line = next(line for line in file if line.startswith("RssAnon"))
        return int(line.split()[1]) * 1024
    return 0


def reset_peak() -> None:
    """Starts the peak of memory anew where the system can (Linux)."""
    with contextlib.suppress(OSError), open("/proc/self/clear_refs", "w") as file:
        file.write("5")


def peak_bytes() -> int:
    """The most memory this process has held at once since `reset_peak`."""
    with contextlib.suppress(OSError, StopIteration), open("/proc/self/status") as file:
        line = next(line for line in file if line.startswith("VmHWM"))
        return int(line.split()[1]) * 1024
    scale = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * scale
