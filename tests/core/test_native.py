"""Kernels are built once, and told when they cannot be."""

from __future__ import annotations

import ctypes
from pathlib import Path

import pytest

from herd.core import native
from herd.core.errors import HerdError


@pytest.fixture
def sources(tmp_path: Path) -> Path:
    folder = tmp_path / "some" / "native"
    folder.mkdir(parents=True)
    (folder / "twice.cpp").write_text(
        'extern "C" __attribute__((visibility("default"))) int twice(int x) { return x * 2; }'
    )
    return folder


def test_the_sources_build_into_any_folder(sources: Path, tmp_path: Path) -> None:
    made = native.build(sources, tmp_path / "new")
    assert ctypes.CDLL(str(made)).twice(21) == 42
    assert [file.name for file in made.parent.iterdir()] == [made.name]


def test_changed_sources_are_built_anew_and_the_old_build_goes(sources: Path) -> None:
    assert native.load(sources).twice(4) == 8
    (before,) = sources.glob("some-*.so")
    (sources / "twice.cpp").write_text((sources / "twice.cpp").read_text().replace("* 2", "* 3"))
    assert native.load(sources).twice(4) == 12
    (after,) = sources.glob("some-*.so")
    assert after.name != before.name


def test_a_machine_without_a_compiler_is_told_what_to_install(sources: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CXX", raising=False)
    monkeypatch.setattr(native.shutil, "which", lambda name: None)
    monkeypatch.setattr(native.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(HerdError, match="no compiler was found; install one"):
        native.load(sources)


def test_a_compiler_that_fails_is_told(sources: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CXX", "false")
    with pytest.raises(HerdError, match="do not compile with false"):
        native.build(sources, tmp_path)
