"""What a person sees while a recipe runs: lines, and the time left."""

from __future__ import annotations

from pathlib import Path

import pytest

from herd.run.progress import Pace, Plain, clock
from herd.run.runner import run
from tests.core.stages_for_tests import join, write


@pytest.mark.parametrize(("seconds", "text"), [(None, "-:--"), (0, "0:00"), (65, "1:05"), (3665, "1:01:05")])
def test_clock(seconds: float | None, text: str) -> None:
    assert clock(seconds) == text


def test_time_left_follows_the_pace() -> None:
    pace = Pace()
    assert pace.seconds_left(100, 0, 10) is None
    assert pace.seconds_left(110, 2, 10) == 40


def test_time_left_after_a_resume_counts_only_what_was_done_since() -> None:
    pace = Pace()
    assert pace.seconds_left(5, 9_000, 10_000) is None
    assert pace.seconds_left(15, 9_010, 10_000) == 990  # a step a second, however fast the first 9,000 look


def test_time_left_of_a_second_piece_of_work_has_a_pace_of_its_own() -> None:
    pace = Pace()
    pace.seconds_left(0, 0, 100)
    assert pace.seconds_left(1, 100, 100) == 0
    assert pace.seconds_left(1, 0, 10) is None
    assert pace.seconds_left(3, 1, 10) == 18
    assert pace.seconds_left(3, 5, 0) is None


def test_plain_progress_is_lines(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    run(join((write(text="a"),)), tmp_path, display=Plain())
    out = capsys.readouterr().out.splitlines()
    assert out[0].endswith(": started")
    assert out[-1].startswith("[2/2] join-")
