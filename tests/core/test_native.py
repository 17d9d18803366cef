"""Kernels are built once, and told when they cannot be."""

from __future__ import annotations

import ctypes
import itertools
import os
import threading
import time
import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

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


def test_a_library_that_cannot_be_loaded_here_is_built_anew_in_the_cache(
    sources: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that a wheel brought may want a newer C library than this machine has."""
    monkeypatch.setenv("HERD_CACHE", str(tmp_path / "cache"))
    (sources / native.library_name(sources)).write_bytes(b"\x7fELF of another kind")
    assert native.load(sources).twice(4) == 8
    assert [file.name for file in (tmp_path / "cache" / "kernels").iterdir()] == [native.library_name(sources)]
    assert (sources / native.library_name(sources)).read_bytes() == b"\x7fELF of another kind"


@pytest.fixture
def no_compiler(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("CXX", raising=False)
    monkeypatch.delenv("HERD_KERNELS_WARNED", raising=False)
    monkeypatch.setenv("HERD_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(native.shutil, "which", lambda name: None)
    monkeypatch.setattr(native.importlib.util, "find_spec", lambda name: None)


@pytest.mark.usefixtures("no_compiler")
def test_missing_kernels_are_warned_of_once_in_this_process_and_those_it_starts(
    sources: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.warns(
        RuntimeWarning, match="no compiled kernels, so it takes longer: some kernels are C.. and no comp"
    ):
        assert native.load_or_warn(sources, "it takes longer") is None
    assert os.environ["HERD_KERNELS_WARNED"] == "some"
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert native.load_or_warn(sources, "it takes longer") is None
    monkeypatch.delenv("HERD_KERNELS_WARNED")


@pytest.mark.usefixtures("no_compiler")
def test_a_command_says_in_one_sentence_that_it_will_be_slow(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from herd.cli import main

    monkeypatch.setattr(native, "library_name", lambda sources: "absent.so")
    assert main(["extract", str(tmp_path / "absent.html")]) != 0
    said = capsys.readouterr().err
    assert said.count("no compiled kernels, so curation takes") == 1
    assert "pip install ziglang" in said
    assert os.environ["HERD_KERNELS_WARNED"] == "all"
    assert main(["list", "filters"]) == 0
    assert not capsys.readouterr().err
    monkeypatch.delenv("HERD_KERNELS_WARNED")


def test_where_kernels_are_or_can_be_built_nothing_is_said() -> None:
    assert native.kernel_warning() == ""


def test_kernels_can_be_switched_off(sources: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HERD_KERNELS", "off")
    with pytest.raises(HerdError, match="switched off by HERD_KERNELS=off; unset it"):
        native.load(sources)


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


def test_of_several_that_want_kernels_at_once_one_compiles(
    sources: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    compiled: list[Path] = []
    together = threading.Barrier(2)

    def compile_once(folder: Path, library: Path) -> Path:
        compiled.append(folder)
        time.sleep(0.2)  # the other one waits meanwhile
        library.write_bytes(b"compiled")
        return library

    inode_of = native._inode

    def inode(file: Path) -> int | None:
        together.wait(10)  # both have seen that nothing is there
        return inode_of(file)

    monkeypatch.setattr(native, "_compile", compile_once)
    monkeypatch.setattr(native, "_inode", _first_calls(inode, inode_of, 2))
    with ThreadPoolExecutor(2) as pool:
        made = list(pool.map(lambda number: native.build(sources, tmp_path / "new"), range(2)))
    assert len(compiled) == 1
    assert made[0] == made[1]
    assert made[0].read_bytes() == b"compiled"


def _first_calls(first: Callable[[Path], Any], later: Callable[[Path], Any], count: int) -> Callable[[Path], Any]:
    """`first` for so many calls, `later` for those after them."""
    calls = itertools.count()
    return lambda file: (first if next(calls) < count else later)(file)


def test_a_run_has_missing_kernels_built_beside_it(sources: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[str] = []
    monkeypatch.setattr(native, "_start", started.append)
    monkeypatch.setattr(native, "kernel_folders", lambda: [sources])
    native.start_building()
    assert started == ["herd.core.native"]
    native._build_missing()
    assert ctypes.CDLL(str(sources / native.library_name(sources))).twice(3) == 6
    native.start_building()
    assert len(started) == 1
