"""The whole recipe in miniature, for tests that need a made run."""

from __future__ import annotations

import signal
from pathlib import Path

from herd.core.artifacts import Artifact
from herd.core.recipe import load_recipe
from herd.recipes import recipes

SMOKE = Path(__file__).with_name("smoke.yaml")


def hear_interrupts() -> None:
    """For a new process: whoever runs the tests in the background made them deaf to Ctrl-C."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def planned(*sets: str) -> Artifact:
    return load_recipe(str(SMOKE), recipes, sets).plan()
