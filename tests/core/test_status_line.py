"""One line that says how far something is, and the time left."""

from __future__ import annotations

import io
import sys
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from herd.core import status_line
from herd.core.status_line import ProgressRate, StatusLine, clock


@pytest.mark.parametrize(("seconds", "text"), [(None, "-:--"), (0, "0:00"), (65, "1:05"), (3665, "1:01:05")])
def test_clock(seconds: float | None, text: str) -> None:
    assert clock(seconds) == text


def test_time_left_follows_the_pace() -> None:
    pace = ProgressRate()
    assert pace.seconds_left(100, 0, 10) is None
    assert pace.seconds_left(110, 2, 10) == 40


def test_time_left_after_a_resume_counts_only_what_was_done_since() -> None:
    pace = ProgressRate()
    assert pace.seconds_left(5, 9_000, 10_000) is None
    assert pace.seconds_left(15, 9_010, 10_000) == 990  # a step a second, however fast the first 9,000 look


def test_time_left_of_a_second_piece_of_work_has_a_pace_of_its_own() -> None:
    pace = ProgressRate()
    pace.seconds_left(0, 0, 100)
    assert pace.seconds_left(1, 100, 100) == 0
    assert pace.seconds_left(1, 0, 10) is None
    assert pace.seconds_left(3, 1, 10) == 18
    assert pace.seconds_left(3, 5, 0) is None


@given(st.integers(0, 10**7))
def test_a_clock_tells_every_second(seconds: int) -> None:
    parts = [int(part) for part in clock(seconds).split(":")]
    assert sum(part * 60**place for place, part in enumerate(reversed(parts))) == seconds
    assert all(part < 60 for part in parts[1:])
    assert len(parts) == (3 if seconds >= 3600 else 2)


@given(st.floats(0.01, 100), st.integers(1, 50), st.integers(51, 1000))
def test_at_an_even_pace_the_time_left_is_what_the_rest_takes(each: float, done: int, total: int) -> None:
    pace = ProgressRate()
    assert pace.seconds_left(5.0, 0, total) is None
    left = pace.seconds_left(5.0 + done * each, done, total)
    assert left == pytest.approx((total - done) * each)
    assert pace.seconds_left(9.0 + done * each, total, total) == 0


def test_a_total_that_nobody_knows_leaves_no_time() -> None:
    pace = ProgressRate()
    assert [pace.seconds_left(second, second, 0) for second in (0.0, 1.0, 2.0)] == [None] * 3


class OneLine(io.StringIO):
    def isatty(self) -> bool:
        return True


def told(stream: Any, monkeypatch: pytest.MonkeyPatch) -> str:
    moments = iter([0.0, 0.0, 30.0, 60.0, 60.01])
    monkeypatch.setattr(status_line.time, "monotonic", lambda: next(moments))
    monkeypatch.setattr(sys, "stderr", stream)
    line = StatusLine("multiple_\x1bchoice")
    for done in (0, 1000, 2000, 2001):
        line(done, 4000)
    line.clear()
    return stream.getvalue()


def test_a_log_is_told_now_and_then_and_a_terminal_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = ["multiple_\\x1bchoice: 1,000 of 4,000, 1:30 left", "multiple_\\x1bchoice: 2,000 of 4,000, 1:00 left"]
    assert told(io.StringIO(), monkeypatch).splitlines() == lines
    assert told(OneLine(), monkeypatch) == "".join(f"\r{line}\033[K" for line in lines) + "\r\033[K"


def test_a_line_that_is_to_be_quiet_first_says_its_words_then(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    moment = [0.0]
    monkeypatch.setattr(status_line.time, "monotonic", lambda: moment[0])
    line = StatusLine("3 files", words=lambda value: f"{value / 1e9:.1f} GB", quiet_seconds=1.0)
    for second in (0.0, 0.9, 1.1, 2.0, 21.0, 21.2):
        moment[0] = second
        line(second * 1e9, 40e9)
    assert capsys.readouterr().err.splitlines() == [
        "3 files: 1.1 GB of 40.0 GB, 0:39 left",
        "3 files: 21.2 GB of 40.0 GB, 0:19 left",
    ]
