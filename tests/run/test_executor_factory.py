"""Executors by name."""

from __future__ import annotations

from pathlib import Path

import pytest

from herd.core.errors import SettingsError
from herd.run.executor_factory import make_executor
from herd.run.executors import LocalExecutor
from herd.run.launcher import LauncherExecutor


def test_names_of_places(tmp_path: Path) -> None:
    local = make_executor("local", lambda: 3)
    assert isinstance(local, LocalExecutor)
    assert local.workers == 3
    assert isinstance(make_executor(f"joined:{tmp_path}"), LauncherExecutor)


def test_a_place_nobody_knows_is_told() -> None:
    with pytest.raises(SettingsError, match="there are local, torchrun"):
        make_executor("moon")
