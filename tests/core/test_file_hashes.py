"""Hashes of files: remembered until a file changes, in threads, with what is left told, however large files are."""

from __future__ import annotations

import hashlib
import json
import os
import re
import subprocess
import sys
import threading
import time
import tracemalloc
from pathlib import Path
from typing import Any

import pytest

from herd.core import cache, file_hashes, status_line
from herd.core.file_hashes import file_hashes as hashes_of


@pytest.fixture(autouse=True)
def book(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where hashes are remembered."""
    monkeypatch.setenv("HERD_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "sha256.json"


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The files that were read."""
    names: list[Path] = []
    real = file_hashes._Hashing._hash
    monkeypatch.setattr(
        file_hashes._Hashing, "_hash", lambda self, path, buffer: names.append(path) or real(self, path, buffer)
    )
    return names


def digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def written(folder: Path, count: int) -> list[Path]:
    folder.mkdir(exist_ok=True)
    files = [folder / f"{number:05}.txt" for number in range(count)]
    for number, file in enumerate(files):
        file.write_text(f"page {number % (count - 1)}")
    return files


def test_a_file_is_read_again_only_when_it_changes(tmp_path: Path, read: list[Path]) -> None:
    first, second = tmp_path / "a", tmp_path / "b"
    first.write_text("one")
    second.write_text("two")
    assert hashes_of([first, second, first]) == [digest("one"), digest("two"), digest("one")]
    assert sorted(read) == [first, second]
    link = tmp_path / "link"
    link.symlink_to(first)
    assert hashes_of([link, first]) == [digest("one")] * 2
    assert len(read) == 2
    first.write_text("longer")
    assert hashes_of([first, second]) == [digest("longer"), digest("two")]
    before = first.stat().st_mtime_ns
    first.write_text("LONGER")  # of the same size, at another time
    os.utime(first, ns=(before, before + 1))
    assert hashes_of([first]) == [digest("LONGER")]
    assert read[2:] == [first, first]


def test_small_files_may_be_read_each_time(tmp_path: Path, read: list[Path]) -> None:
    small, large = tmp_path / "small", tmp_path / "large"
    small.write_text("s")
    large.write_text("l" * 100)
    for _ in range(3):
        assert hashes_of([small, large], remembered_bytes=100) == [digest("s"), digest("l" * 100)]
    assert read.count(small) == 3
    assert read.count(large) == 1


def test_the_book_is_parsed_once_and_written_once_for_any_number_of_files(
    tmp_path: Path, book: Path, read: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    files = written(tmp_path / "many", 700)
    parsed: list[int] = []
    dumped: list[int] = []
    loads, dumps = json.loads, json.dumps
    monkeypatch.setattr(cache.json, "loads", lambda text: parsed.append(len(text)) or loads(text))
    monkeypatch.setattr(cache.json, "dumps", lambda row, **how: dumped.append(len(row)) or dumps(row, **how))
    values = hashes_of(files)
    for file in files:  # one by one, as settings that name files do
        assert hashes_of([file]) == [values[files.index(file)]]
    cache.entry_cache("sha256", 1).save()  # as at the end of the process
    assert (len(parsed), dumped) == (0, [700])
    monkeypatch.setattr(cache, "_opened", {})  # as in the next process
    assert hashes_of(files) == values == [digest(file.read_text()) for file in files]
    cache.entry_cache("sha256", 1).save()
    assert (len(parsed), dumped) == (1, [700])
    assert len(read) == 700
    assert len(loads(book.read_text())) == 700


HASHER = """
import sys
from pathlib import Path
from herd.core.file_hashes import file_hashes
files = sorted(Path(sys.argv[1]).iterdir())
assert len(file_hashes(files[int(sys.argv[2])::3])) == len(files) // 3
"""


def test_what_several_processes_hash_at_once_is_all_remembered(tmp_path: Path, book: Path) -> None:
    folder = tmp_path / "many"
    files = written(folder, 60)
    hashers = [subprocess.Popen([sys.executable, "-c", HASHER, str(folder), str(number)]) for number in range(3)]
    assert [hasher.wait(timeout=120) for hasher in hashers] == [0] * 3
    values = {Path(name): entry["value"] for name, entry in json.loads(book.read_text()).items()}
    assert values == {file.resolve(): digest(file.read_text()) for file in files}


def test_a_sparse_file_is_read_in_pieces_beside_others(tmp_path: Path) -> None:
    size = 100 << 20
    with (tmp_path / "sparse").open("wb") as stream:
        stream.truncate(size)
    (tmp_path / "small").write_text("s")
    expected = hashlib.sha256()
    for _ in range(100):
        expected.update(bytes(1 << 20))
    tracemalloc.start()
    try:
        assert hashes_of([tmp_path / "small", tmp_path / "sparse"]) == [digest("s"), expected.hexdigest()]
        assert tracemalloc.get_traced_memory()[1] < 16 << 20
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("count", [1, 40])
def test_a_file_that_cannot_be_read_is_named_and_what_was_hashed_is_kept(
    count: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = written(tmp_path / "many", 40)[:count]
    with pytest.raises(FileNotFoundError) as told:
        hashes_of([*files, tmp_path / "absent"])
    assert told.value.filename == str(tmp_path / "absent")
    fault, real = files[-1], file_hashes._Hashing._hash

    def broken(self: Any, path: Path, buffer: bytearray) -> str:
        if path == fault:
            while count > 1 and len(self._new) + len(self._hashes) < count - 1:
                time.sleep(0.001)
            raise OSError(5, "Input/output error")
        return real(self, path, buffer)

    monkeypatch.setattr(file_hashes._Hashing, "_hash", broken)
    with pytest.raises(OSError, match="Input/output error") as told:
        hashes_of(files)
    assert told.value.filename == str(fault)
    monkeypatch.setattr(file_hashes._Hashing, "_hash", lambda *_: pytest.fail("read again"))
    assert hashes_of(files[:-1]) == [digest(file.read_text()) for file in files[:-1]]


def test_what_takes_long_says_how_far_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    files = written(tmp_path / "many", 8)
    assert hashes_of(files[:4])
    assert capsys.readouterr().err == ""
    moment, real, lock = [0.0], file_hashes._Hashing._hash, threading.Lock()
    monkeypatch.setattr(status_line.time, "monotonic", lambda: moment[0])
    monkeypatch.setattr(file_hashes, "_LOOK_SECONDS", 0.01)

    def slow(self: Any, path: Path, buffer: bytearray) -> str:
        with lock:
            time.sleep(0.05)
            moment[0] += 30.0
            return real(self, path, buffer)

    monkeypatch.setattr(file_hashes._Hashing, "_hash", slow)
    assert hashes_of(files)
    lines = capsys.readouterr().err.splitlines()
    assert lines
    assert all(re.fullmatch(r"hashing 4 files: 0\.[0-3] MB of 0\.3 MB, [0-9:-]+ left", line) for line in lines)
