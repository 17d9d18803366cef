"""The parent's end of a run, with this process as the fork server."""

from __future__ import annotations

import json
import os
import socket
import threading
import time
from collections.abc import Iterator

import pytest

from herd.sandbox.exchange import Ending, Run, follow
from herd.sandbox.wire import pack_ending


@pytest.fixture
def control() -> Iterator[tuple[socket.socket, socket.socket]]:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    yield ours, theirs
    ours.close()
    theirs.close()


def received(theirs: socket.socket) -> tuple[dict, list[int]]:
    data, descriptors, _, _ = socket.recv_fds(theirs, 1 << 16, 16)
    return json.loads(data), descriptors


def test_what_is_written_and_read_and_how_it_ended(control) -> None:
    before = len(os.listdir("/proc/self/fd"))
    with Run() as run:
        run.give(None)
        run.write(b"x" * 1_000_000)  # more than a pipe holds
        run.read("answer", 100)
        run.send(control[0], {"kind": "call"})
        job, (status, reading, writing) = received(control[1])
        assert job == {"kind": "call", "given": [False, True, True]}

        def act() -> None:
            with os.fdopen(reading, "rb") as file:
                got = file.read()
            os.write(writing, b"%d" % len(got))
            os.close(writing)
            os.write(status, pack_ending(3, 4096, 0.5, 0.0, False, ""))
            os.close(status)

        thread = threading.Thread(target=act)
        thread.start()
        (ending,) = follow([run], time.monotonic() + 30)
        thread.join()
        assert run.outputs["answer"] == b"1000000"
        assert ending == Ending(3, 0.5, 4096)
    assert len(os.listdir("/proc/self/fd")) == before


@pytest.mark.parametrize("reason", ["late", "full"])
def test_who_takes_too_long_or_writes_too_much_is_told_to_end(control, reason: str) -> None:
    with Run() as run:
        run.read("answer", 10)
        run.send(control[0], {})
        _, (status, writing) = received(control[1])
        words = []

        def act() -> None:
            if reason == "full":
                os.write(writing, b"x" * 11)
            words.append(os.read(status, 10))
            os.close(writing)
            os.write(status, pack_ending(-9, 0, 0.0, 0.0, True, ""))
            os.close(status)

        thread = threading.Thread(target=act)
        thread.start()
        (ending,) = follow([run], time.monotonic() + (0.05 if reason == "late" else 30))
        thread.join()
        assert words == [b"end"]
        assert (ending.late, ending.full) == ((True, "") if reason == "late" else (False, "answer"))
        assert len(run.outputs["answer"]) <= 10


def test_a_fork_server_that_ends_is_a_fault_of_its_own(control) -> None:
    with Run() as run:
        run.send(control[0], {})
        _, (status,) = received(control[1])
        os.close(status)
        (ending,) = follow([run], time.monotonic() + 30)
        assert ending.fault == "the fork server ended"
