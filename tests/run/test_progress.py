"""What a person sees while a recipe runs: lines, and the time left."""

from __future__ import annotations

import io
import re
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from herd.core.stage import with_label
from herd.run import progress
from herd.run.progress import LiveDisplay, ProgressRate, SilentDisplay, StatusLine, TextDisplay, clock, display, summary
from herd.run.runner import run_stages
from tests.core.stages_for_tests import join, write


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


def test_plain_progress_is_lines(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    run_stages(join((write(text="a"),)), tmp_path, display=TextDisplay())
    out = capsys.readouterr().out.splitlines()
    assert out[0] == "write: started"
    assert out[-1].startswith("[2/2] join 0.")


def test_stages_are_shown_by_their_titles_and_those_by_letter(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    named = with_label(write(text="a"), "[bold]own\x1b[2J text[/]")
    run_stages(join((named,)), tmp_path / "plain", display=TextDisplay())
    assert capsys.readouterr().out.startswith("[bold]own")
    terminal = Terminal()
    monkeypatch.setattr(sys, "stdout", terminal)
    monkeypatch.setenv("TERM", "xterm")
    run_stages(join((named,)), tmp_path / "live", display=display())
    assert r"[bold]own\x1b[2J text[/] (write)" in re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", terminal.said)
    assert "\x1b[2J" not in terminal.said


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


@pytest.fixture
def now(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """What the clock says, to be set."""
    moment = [0.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: moment[0])
    return moment


def test_a_log_is_told_of_progress_now_and_then(now: list[float], capsys: pytest.CaptureFixture[str]) -> None:
    plain = TextDisplay()
    plain.begin(3, 1)
    plain.start("pack-1")
    for second in range(0, 61, 5):
        now[0] = float(second)
        plain.progress("pack-1", second, 120.0, "tokens")
    plain.progress("pack-1", 1, 0, "no total")
    now[0] = 90.0
    plain.progress("pack-1", 1, 0, "no total")
    plain.warn("take care")
    assert capsys.readouterr().out.splitlines() == [
        "1 of 3 stages are made already",
        "pack-1: started",
        "pack-1: 17% tokens, 1:40 left",
        "pack-1: 33% tokens, 1:20 left",
        "pack-1: 50% tokens, 1:00 left",
        "pack-1: no total",
        "warning: take care",
    ]


def card(key: str, seconds: float) -> dict[str, Any]:
    """Of a stage that says nothing of itself."""
    return {"key": key, "cost": {"seconds": seconds}, "results": {}, "headline": ""}


def test_stages_are_counted_with_those_that_were_made_before(capsys: pytest.CaptureFixture[str]) -> None:
    plain = TextDisplay()
    plain.begin(3, 1)
    for key in ("pack-1", "pretrain-2"):
        plain.start(key)
        plain.finish(key, card(key, 1.25))
    said = capsys.readouterr().out.splitlines()
    assert [line for line in said if line.startswith("[")] == ["[2/3] pack-1 1.2 s", "[3/3] pretrain-2 1.2 s"]
    assert summary(card("pack-1", 1.25)) == "pack-1 1.2 s"


class Terminal:
    """Where text for a terminal goes."""

    encoding = "utf-8"

    def __init__(self) -> None:
        self.said = ""

    def write(self, text: str) -> int:
        self.said += text
        return len(text)

    def flush(self) -> None: ...

    def isatty(self) -> bool:
        return True


def test_bars_show_what_others_wrote_letter_for_letter(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stdout", terminal)
    monkeypatch.setenv("TERM", "xterm")
    live = display()
    assert isinstance(live, LiveDisplay)
    live.begin(2, 1)
    live.start("pack-1")
    live.progress("pack-1", 1, 4, "[bold]words[/]\x1b[2J")
    live.warn("a [red]name[/] \x1b]0;owned\x07")
    live.finish("pack-1", card("[link]pack-1", 1.0))
    live.end()
    shown = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", terminal.said)
    assert "1 of 2 stages are made already" in shown
    assert r"a [red]name[/] \x1b]0;owned\x07" in shown
    assert "✓ [link]pack-1 1.0 s" in shown
    assert "2 of 2 stages" in shown
    assert "\x1b]0;" not in terminal.said


def test_a_pipe_is_shown_lines_and_silence_is_silent(capsys: pytest.CaptureFixture[str]) -> None:
    assert type(display()) is TextDisplay
    silent = SilentDisplay()
    silent.begin(1, 0)
    silent.start("a-1")
    silent.progress("a-1", 1, 2, "words")
    silent.finish("a-1", card("a-1", 1.0))
    silent.warn("take care")
    silent.end()
    assert capsys.readouterr().out == ""


class OneLine(io.StringIO):
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
    assert told(OneLine(), monkeypatch) == "".join(f"\r{line}\033[K" for line in lines) + "\r\033[K"
