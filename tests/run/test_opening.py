"""Executors by name."""

from __future__ import annotations

from pathlib import Path

import pytest

from herd.core.errors import SettingsError
from herd.run.executors import LocalPlace
from herd.run.joined import JoinedPlace
from herd.run.opening import open_place


def test_names_of_places(tmp_path: Path) -> None:
    local = open_place("local", lambda: 3)
    assert isinstance(local, LocalPlace)
    assert local.workers == 3
    assert isinstance(open_place(f"joined:{tmp_path}"), JoinedPlace)


def test_a_place_nobody_knows_is_told() -> None:
    with pytest.raises(SettingsError, match="there are local, torchrun"):
        open_place("moon")
