"""Files at addresses: listed, opened and told apart; what is not there is one sentence."""

from __future__ import annotations

from pathlib import Path

import pytest

from herd.core.addresses import files_at, is_address, open_source_file, remote_checksum, size_of
from herd.core.errors import DataError

fsspec = pytest.importorskip("fsspec", reason="the package for addresses is not installed")


@pytest.fixture
def place() -> str:
    system = fsspec.filesystem("memory")
    system.pipe_file("/crawl/a.txt", b"one")
    system.pipe_file("/crawl/deep/b.txt", b"longer")
    return "memory://crawl"


def test_folders_and_patterns_are_listed(place: str) -> None:
    assert files_at(place) == ["memory://crawl/a.txt", "memory://crawl/deep/b.txt"]
    assert files_at(f"{place}/*") == ["memory://crawl/a.txt"]
    assert files_at(f"{place}/**/*.txt") == ["memory://crawl/a.txt", "memory://crawl/deep/b.txt"]
    assert files_at(f"{place}/a.txt") == ["memory://crawl/a.txt"]
    assert files_at(f"{place}/none") == []


def test_files_are_opened_and_told_apart(place: str, tmp_path: Path) -> None:
    assert size_of(f"{place}/a.txt") == 3
    with open_source_file(f"{place}/a.txt") as stream:
        assert stream.read() == b"one"
    assert remote_checksum(f"{place}/a.txt") != remote_checksum(f"{place}/deep/b.txt")
    (tmp_path / "a").write_bytes(b"four")
    assert size_of(str(tmp_path / "a")) == 4
    with open_source_file(str(tmp_path / "a")) as stream:
        assert stream.read() == b"four"


def test_what_is_not_there_is_one_sentence(place: str, tmp_path: Path) -> None:
    for call in (size_of, remote_checksum, open_source_file):
        with pytest.raises(DataError, match="there is no such file"):
            call(f"{place}/none.txt")
    with pytest.raises(DataError, match="cannot be opened"):
        open_source_file(str(tmp_path / "none"))
    with pytest.raises(DataError, match="there is no such file"):
        size_of(str(tmp_path / "none"))
    with pytest.raises(DataError, match="check its spelling"):
        files_at("nosuchscheme://bucket/a")
    assert is_address("s3://bucket/a")
    assert not is_address("a/b")
