"""What a person sees while a recipe runs."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

import pytest

from herd.core.stage import with_label
from herd.run import progress
from herd.run.progress import LiveDisplay, SilentDisplay, TextDisplay, display, summary
from herd.run.runner import run_stages
from tests.core.stages_for_tests import join, write


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
