"""One run, as its parent sees it: what is written to it and read from it, until it ended or was told to."""

from __future__ import annotations

import contextlib
import json
import os
import select
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from herd.sandbox.wire import unpack_ending

_PART = 1 << 16


@dataclass(frozen=True)
class Ending:
    """How the process of a run ended. exit_code: as of `subprocess`; None where it never began. late: it was still
    there when the time was over. full: what it wrote too much of. cause: why the fork server ended it. waited: seconds
    that it waited for a core, where it was ended. fault: of the fork server. stopped: it was there
    when it was told to end."""

    exit_code: int | None
    cpu_seconds: float = 0.0
    peak_bytes: int = 0
    cause: str = ""
    waited: float = 0.0
    late: bool = False
    full: str = ""
    fault: str = ""
    stopped: bool = False


@dataclass
class _Reader:
    """What is read from a descriptor: its name for the caller, the most bytes, and what there is."""

    name: str
    most_bytes: int
    data: bytearray = field(default_factory=bytearray)


class Run:
    """A run's pipes. Use it as a context: nothing stays open, and a run that goes on then is killed.

    `send` hands the other ends to the fork server, as the descriptors that it expects.
    """

    def __init__(self) -> None:
        self._stack = contextlib.ExitStack()
        self._writing: dict[int, memoryview] = {}
        self._reading: dict[int, _Reader] = {}
        self._theirs: list[int] = []
        self._given: list[bool] = []
        self.status, theirs = socket.socketpair()
        self._stack.callback(self.status.close)
        self._theirs.append(theirs.detach())
        self.outputs: dict[str, bytearray] = {}

    def __enter__(self) -> Run:
        return self

    def __exit__(self, *_: object) -> None:
        for descriptor in (*self._theirs, *self._writing, *self._reading):
            os.close(descriptor)
        self._stack.close()

    def give(self, descriptor: int | None) -> None:
        """The next descriptor of the run: one that is there already (it is closed here afterwards), or nothing."""
        self._given.append(descriptor is not None)
        if descriptor is not None:
            self._theirs.append(descriptor)

    def write(self, data: bytes) -> None:
        """The next descriptor of the run: it will read this there."""
        theirs, ours = os.pipe()
        self.give(theirs)
        os.set_blocking(ours, False)
        self._writing[ours] = memoryview(data)

    def read(self, name: str, most_bytes: int) -> None:
        """The next descriptor of the run: what it writes there is kept in `outputs[name]`, up to a limit."""
        ours, theirs = os.pipe()
        self.give(theirs)
        reader = _Reader(name, most_bytes)
        self._reading[ours] = reader
        self.outputs[name] = reader.data

    def send(self, control: socket.socket, job: dict[str, Any]) -> None:
        """Starts the run. Raises OSError where the fork server is gone."""
        socket.send_fds(control, [json.dumps(job | {"given": self._given}).encode()], self._theirs)
        for descriptor in self._theirs:
            os.close(descriptor)
        self._theirs = []


def follow(runs: list[Run], deadline: float, ended: Callable[[int, Ending], bool] = lambda *_: False) -> list[Ending]:
    """How each of these runs ended. deadline: of `time.monotonic`, after which they are killed.

    ended: told of every run when it ends; True when the others are then to be killed.
    """
    return _Watch(runs, deadline, ended).follow()


class _Watch:
    """The loop that follows runs to their end."""

    def __init__(self, runs: list[Run], deadline: float, ended: Callable[[int, Ending], bool]) -> None:
        self.runs, self.deadline, self.ended = runs, deadline, ended
        self.poll = select.poll()
        self.owner: dict[int, int] = {}
        self.late, self.full = [False] * len(runs), [""] * len(runs)
        self.endings: list[Ending | None] = [None] * len(runs)
        self.stopped: set[int] = set()
        for number, run in enumerate(runs):
            for descriptor in (*run._writing, *run._reading, run.status.fileno()):
                self.owner[descriptor] = number
                self.poll.register(descriptor, select.POLLOUT if descriptor in run._writing else select.POLLIN)

    def follow(self) -> list[Ending]:
        while self.owner:
            left = self.deadline - time.monotonic()
            if left <= 0:
                for number in range(len(self.runs)):
                    self.late[number] |= self.endings[number] is None and number not in self.stopped
                    self._stop(number)
                left = 10.0  # a killed process is gone in no time; the fork server may be busy
                if time.monotonic() > self.deadline + 60:
                    break
            for descriptor, _ in self.poll.poll(1000 * left):
                if descriptor in self.owner:
                    self._serve(descriptor)
        return [element or Ending(None, fault="the fork server does not answer") for element in self.endings]

    def _serve(self, descriptor: int) -> None:
        number = self.owner[descriptor]
        run = self.runs[number]
        if descriptor in run._writing:
            self._write(run, descriptor)
        elif descriptor in run._reading:
            self._read(number, run, descriptor)
        else:
            self._hear(number, run)

    def _write(self, run: Run, descriptor: int) -> None:
        try:
            run._writing[descriptor] = run._writing[descriptor][
                os.write(descriptor, run._writing[descriptor][:_PART]) :
            ]
        except BlockingIOError:
            return
        except BrokenPipeError:
            run._writing[descriptor] = memoryview(b"")
        if not run._writing[descriptor]:
            self._close(descriptor, run._writing)

    def _read(self, number: int, run: Run, descriptor: int) -> None:
        reader = run._reading[descriptor]
        part = os.read(descriptor, _PART)
        if not part:
            self._close(descriptor, run._reading)
            return
        room = reader.most_bytes - len(reader.data)
        reader.data += part[:room]
        if len(part) > room and not self.full[number]:
            self.full[number] = reader.name
            self._stop(number)

    def _hear(self, number: int, run: Run) -> None:
        self._close(run.status.fileno(), None)
        try:
            row: dict[str, Any] = unpack_ending(run.status.recv(_PART))
        except OSError as fault:
            row = {"fault": f"the fork server: {fault}"}
        ending = Ending(
            row.get("exit_code"), row.get("cpu_seconds", 0.0), row.get("peak_bytes", 0), row.get("cause", ""),
            row.get("waited", 0.0), self.late[number], self.full[number], row.get("fault", ""),
            row.get("stopped", False),
        )  # fmt: skip
        self.endings[number] = ending
        if self.ended(number, ending):
            for number_of_other in range(len(self.runs)):
                self._stop(number_of_other)

    def _close(self, descriptor: int, kept_in: dict[int, Any] | None) -> None:
        self.poll.unregister(descriptor)
        del self.owner[descriptor]
        if kept_in is not None:
            del kept_in[descriptor]
            os.close(descriptor)

    def _stop(self, number: int) -> None:
        if number in self.stopped or self.endings[number] is not None:
            return
        self.stopped.add(number)
        with contextlib.suppress(OSError):
            self.runs[number].status.send(b"end")
