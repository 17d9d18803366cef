"""What a person is told while a command works."""

from __future__ import annotations

import io
import sys
from typing import Any

import pytest

from herd.run import progress
from herd.run.progress import StatusLine


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def told(stream: Any, monkeypatch: pytest.MonkeyPatch) -> str:
    moments = iter([0.0, 0.0, 30.0, 60.0, 60.01])
    monkeypatch.setattr(progress.time, "monotonic", lambda: next(moments))
    monkeypatch.setattr(sys, "stderr", stream)
    line = StatusLine("multiple_\x1bchoice")
    for done in (0, 1000, 2000, 2001):
        line(done, 4000)
    line.clear()
    return stream.getvalue()


def test_a_log_is_told_now_and_then_and_a_terminal_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = ["multiple_\\x1bchoice: 1,000 of 4,000, 1:30 left", "multiple_\\x1bchoice: 2,000 of 4,000, 1:00 left"]
    assert told(io.StringIO(), monkeypatch).splitlines() == lines
    assert told(Terminal(), monkeypatch) == "".join(f"\r{line}\033[K" for line in lines) + "\r\033[K"
