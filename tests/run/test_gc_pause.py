"""Pauses of garbage collection that overlap, and who needs them."""

from __future__ import annotations

import gc
import sys
from pathlib import Path
from types import FrameType

import pytest

from herd.run.gc_pause import gc_paused
from herd.run.ranks import Heartbeat, Rank


def test_the_last_of_overlapping_pauses_turns_collection_on_again() -> None:
    outer, inner = gc_paused(), gc_paused()
    assert gc.isenabled()
    with outer:
        inner.__enter__()
        assert not gc.isenabled()
    assert not gc.isenabled()
    inner.__exit__(None, None, None)
    assert gc.isenabled()


def test_collection_that_was_off_stays_off() -> None:
    gc.disable()
    try:
        with gc_paused():
            pass
        assert not gc.isenabled()
    finally:
        gc.enable()


def test_frames_of_threads_are_never_listed_while_garbage_may_be_collected(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Python before 3.12 stands still for ever when a collection begins in there (CPython issue 106883)."""
    enabled = []
    frames = sys._current_frames

    def noted() -> dict[int, FrameType]:
        enabled.append(gc.isenabled())
        return frames()

    monkeypatch.setattr(sys, "_current_frames", noted)
    heartbeat = Heartbeat(tmp_path, Rank(0, 1, 0))
    assert not heartbeat._is_waiting()
    heartbeat.close()
    assert enabled
    assert not any(enabled)
    assert gc.isenabled()
