"""Row 35: a context grows only when the model finds every needle, and does not forget short rows."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from herd.core.artifacts import Checkpoint
from herd.serve.folders import made_in

RECIPE = Path(__file__).parent.parent / "needles.yaml"


@pytest.mark.slow
@pytest.mark.row(35, "needles")
def test_every_needle_is_found_before_each_switch(tmp_path: Path, figure: Callable[[str], None]) -> None:
    """Three lengths: 128 learnt from nothing, then 256 and 512, each switch behind a gate of all needles."""
    command = [sys.executable, "-m", "herd", "run", str(RECIPE), "--out", str(tmp_path), "--until", "extend_context"]
    subprocess.run(command, check=True, capture_output=True)
    grown = [one for one in made_in(tmp_path) if isinstance(one, Checkpoint) and "needle_before" in one.figures]
    grown.sort(key=lambda one: one.figures["length"])
    assert [one.figures["length"] for one in grown] == [256, 512]
    words = []
    for one in grown:
        figures = one.figures
        assert figures["switched"]
        assert all(cell["found"] == cell["asked"] for cell in figures["needle_before"])
        assert all(cell["found"] == cell["asked"] for cell in figures["needle"])
        change = figures["short_loss"]["after"] / figures["short_loss"]["before"] - 1
        assert change <= 0.01
        asked = sum(cell["asked"] for cell in figures["needle_before"])
        words.append(f"{asked} of {asked} needles before {figures['length']}, short loss {change:+.1%} after")
    figure("; ".join(words))
