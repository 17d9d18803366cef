"""The fork server's runs: ended when nobody waits, and gone without a trace."""

from __future__ import annotations

import os
import sys
import threading
import time
from pathlib import Path

import pytest

from herd.sandbox.exchange import Run
from herd.sandbox.launcher import ForkServer, python_paths
from herd.sandbox.limits import Limits
from herd.sandbox.server import SandboxServer
from herd.sandbox.single import call_once, call_request, python_job

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="walls of Linux")


def descendants(pid: int) -> list[int]:
    found = []
    for file in Path(f"/proc/{pid}/task").glob("*/children"):
        for child in map(int, file.read_text().split()):
            found += [child, *descendants(child)]
    return found


def until(condition) -> bool:
    for _ in range(400):
        if condition():
            return True
        time.sleep(0.02)
    return False


@pytest.mark.parametrize("namespaces", [True, False])
def test_a_run_whose_parent_goes_away_is_ended(server: SandboxServer, namespaces: bool) -> None:
    fork_server = ForkServer(python_paths(), namespaces=namespaces)
    try:
        assert fork_server._process is not None
        idle = len(descendants(fork_server._process.pid))
        job = python_job("call", Limits(), 4)
        with Run() as run:
            for _ in range(3):
                run.give(None)
            run.write(b"")  # it waits for a request that does not end
            run.read("answer", 100)
            fork_server.send(run, job)
            assert until(lambda: len(descendants(fork_server._process.pid)) == idle + 1)  # type: ignore[union-attr]
        assert until(lambda: len(descendants(fork_server._process.pid)) == idle)  # type: ignore[union-attr]
        again = call_once(fork_server, job, call_request("def f(): return 1", "f", [[]]), 1, Limits())
        assert again.values == [1]
    finally:
        fork_server.close()


def test_many_at_once_and_one_after_another_leave_no_process_and_no_descriptor(server: SandboxServer) -> None:
    server.call("def f(): return 0", "f", [[]])
    descriptors = len(os.listdir("/proc/self/fd"))
    results: list[object] = []

    def work(number: int) -> None:
        for _ in range(5):
            results.append(server.call(f"def f(): return {number}", "f", [[]]).values == [number])

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [True] * 40
    assert len(os.listdir("/proc/self/fd")) == descriptors
