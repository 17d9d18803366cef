"""Folders of programs that are gone."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from herd.sandbox.scratch import measure, remove


def test_bytes_and_files_are_counted_and_counting_ends(tmp_path: Path) -> None:
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "a" / "b" / "file").write_bytes(b"x" * 10_000)
    size, files = measure(str(tmp_path), 100)
    assert files == 3
    assert size >= 10_000
    for number in range(50):
        (tmp_path / str(number)).touch()
    assert 10 < measure(str(tmp_path), 10)[1] < 20
    assert measure(str(tmp_path / "nowhere"), 10) == (0, 0)


def test_no_depth_is_too_much(tmp_path: Path) -> None:
    top, before = tmp_path / "top", os.getcwd()
    top.mkdir()
    os.chdir(top)
    try:
        for _ in range(1200):  # far beyond the longest path, and beyond what recursion does
            os.mkdir("deeper")
            os.chdir("deeper")
    finally:
        os.chdir(before)
    remove(str(top))
    assert not top.exists()


def test_no_link_is_followed_and_closed_folders_are_opened(tmp_path: Path) -> None:
    outside, top = tmp_path / "outside", tmp_path / "top"
    (top / "closed" / "inner").mkdir(parents=True)
    outside.mkdir()
    (outside / "precious").write_text("x")
    (top / "link").symlink_to(outside)
    (top / "closed" / "link").symlink_to(outside)
    (top / "closed" / "inner").chmod(0)
    (top / "closed").chmod(0)
    remove(str(top))
    assert not top.exists()
    assert (outside / "precious").read_text() == "x"
    with pytest.raises(FileNotFoundError):
        remove(str(top))
