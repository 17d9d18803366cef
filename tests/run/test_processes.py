"""Processes end with the one that started them, hear what they should, and say what they cost."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from herd.run import processes
from herd.run.processes import (
    Meter,
    handle_sigterm,
    stop_requested,
)

ROOT = Path(__file__).parents[2]
linux = pytest.mark.skipif(sys.platform != "linux", reason="what Linux says of a process")


@pytest.fixture
def stop(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """As in a process that was not asked to end yet, and is not afterwards."""
    import threading

    monkeypatch.setattr(processes, "_stop", threading.Event())
    before = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, before)


@pytest.mark.usefixtures("stop")
def test_sigterm_asks_and_does_not_kill() -> None:
    handle_sigterm()
    assert not stop_requested()
    os.kill(os.getpid(), signal.SIGTERM)
    assert stop_requested()


# In a process with one thread, as the runner is when it starts a child; of several, one that lets a signal in takes it.
CTRL_C = """
import os, signal, subprocess, sys
from herd.run.processes import block_interrupts
signal.signal(signal.SIGINT, signal.default_int_handler)
mask = "import signal; print(signal.SIGINT in signal.pthread_sigmask(signal.SIG_BLOCK, []))"
reached = False
try:
    with block_interrupts():
        os.kill(os.getpid(), signal.SIGINT)
        child = subprocess.run([sys.executable, "-S", "-c", mask], capture_output=True, text=True, check=True)
        reached = True
except KeyboardInterrupt:
    print(reached, child.stdout.strip(), signal.SIGINT in signal.pthread_sigmask(signal.SIG_BLOCK, []))
"""


def test_ctrl_c_waits_for_the_end_of_the_block_and_children_never_hear_it() -> None:
    run = subprocess.run([sys.executable, "-c", CTRL_C], cwd=ROOT, capture_output=True, text=True, check=True)
    assert run.stdout == "True True False\n"


@linux
def test_a_process_ends_with_the_one_that_started_it(tmp_path: Path) -> None:
    """Also when that was killed, and when it was gone before the other asked to be told."""
    alive = tmp_path / "alive"
    code = (
        "import os, sys, time; from herd.run.processes import die_with_parent\n"
        "die_with_parent(int(sys.argv[1])); open(sys.argv[2], 'w').write(str(os.getpid()))\n"
        "print('ready', flush=True); time.sleep(600)"
    )
    parent = (
        "import subprocess, sys, os\n"
        f"child = subprocess.Popen([sys.executable, '-c', {code!r}, str(os.getpid()), {str(alive)!r}], "
        "stdout=subprocess.PIPE)\n"
        "child.stdout.readline(); os.kill(os.getpid(), 9)"
    )
    killed = subprocess.run([sys.executable, "-c", parent], cwd=Path(__file__).parents[2], check=False)
    assert killed.returncode == -9
    assert wait_for_end(int(alive.read_text()))
    stranger = subprocess.Popen(
        [sys.executable, "-c", code, "1", str(tmp_path / "other")],
        cwd=Path(__file__).parents[2],
        stdout=subprocess.DEVNULL,
    )
    assert stranger.wait(timeout=60) == 1  # its parent is another than the one it is to die with


def wait_for_end(process: int) -> bool:
    """Whether a process that is nobody's child here ends; a minute at most."""
    import time

    for _ in range(1200):
        status = Path(f"/proc/{process}/status")
        if not status.exists() or "State:\tZ" in status.read_text():
            return True
        time.sleep(0.05)
    return False


def test_a_meter_counts_what_is_done_between_two_moments() -> None:
    meter = Meter()
    before = meter.read()
    sum(number * number for number in range(300_000))
    after = meter.read()
    assert 0 <= before.seconds <= after.seconds
    assert before.cpu_seconds < after.cpu_seconds
    assert after.peak_bytes > 1_000_000


# In a process of its own, since memory that another test gave back would be used again.
PEAK = """
from herd.run.processes import held_bytes, peak_bytes, reset_peak
large = 200_000_000
reset_peak()
level, held = peak_bytes(), held_bytes()
block = bytearray(large)
print(held_bytes() - held > 0.9 * large)
del block
print(peak_bytes() - level > 0.9 * large, held_bytes() - held < 0.5 * large)
reset_peak()
print(peak_bytes() - level < 0.5 * large)
"""


@linux
def test_a_peak_is_that_since_it_was_reset() -> None:
    run = subprocess.run([sys.executable, "-c", PEAK], cwd=ROOT, capture_output=True, text=True, check=True)
    assert run.stdout.split() == ["True"] * 4
