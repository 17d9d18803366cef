"""Functions in processes that are killed when they hang."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from herd.judge.killable import CallLimits, KillablePool

LIMITS = CallLimits(cpu_seconds=1, wall_seconds=60, reply_bytes=10_000)


@pytest.fixture
def pool() -> Iterator[KillablePool]:
    with KillablePool("tests.judge.hanging", limits=LIMITS) as pool:
        yield pool


def test_a_call_that_spins_is_killed_and_the_next_one_goes_well(pool: KillablePool) -> None:
    reply = pool.call("spin")
    assert reply.timed_out
    assert not reply.void
    assert "1 seconds of processor time" in reply.error
    assert pool.call("double", 2).value == 4


def test_faults_of_a_call_are_told_apart(pool: KillablePool) -> None:
    dead = pool.call("die")
    assert dead.void
    assert dead.error == "its process ended with 3"
    assert not pool.call("large", 10**6).void
    assert "larger than 10000 bytes" in pool.call("large", 10**6).error
    assert pool.call("eat").error.startswith("MemoryError")
    assert pool.call("deep").error.startswith("RecursionError")
    assert pool.call("double", None).error.startswith("TypeError")
    assert pool.call("nothing").error.startswith("KeyError")
    assert pool.call("double", 4).value == 8


def test_a_call_that_waits_for_ever_is_void() -> None:
    with KillablePool("tests.judge.hanging", limits=CallLimits(wall_seconds=1.0)) as pool:
        reply = pool.call("sleep")
    assert reply.void
    assert reply.error == "nothing came within 1 seconds"


def test_several_at_a_time_come_back_in_order() -> None:
    with KillablePool("tests.judge.hanging", processes=2, limits=LIMITS) as pool:
        assert [reply.value for reply in pool.map("double", [(n,) for n in range(20)])] == [2 * n for n in range(20)]


def test_no_process_is_left() -> None:
    """Neither after the pool is closed, nor after a program that never closed it."""
    program = (
        "import os, pathlib\n"
        "from herd.judge.killable import KillablePool\n"
        "pool = KillablePool('tests.judge.hanging')\n"
        "print(pool.call('double', 1).value, pathlib.Path('/proc/self/task').glob('*') is not None)\n"
        "print(pathlib.Path(f'/proc/{os.getpid()}/task/{os.getpid()}/children').read_text())\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=Path(__file__).parents[2]
    )
    child = done.stdout.split()[-1]
    assert child.isdigit()
    assert not Path(f"/proc/{child}").exists()
    assert str(os.getpid()) != child
