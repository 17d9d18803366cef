"""What is kept between runs: entries of several processes, and packages that are the pinned ones or nothing."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from pathlib import Path

import pytest

from herd.core import cache as cache_module
from herd.core.cache import EntryCache, cache_folder, entry_cache, fetch_package
from herd.core.errors import DataError


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HERD_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_the_folder_is_the_named_one_or_lies_in_the_users(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert cache_folder() == tmp_path / "cache"
    monkeypatch.setenv("HERD_CACHE", "")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache_folder() == tmp_path / "xdg" / "herd"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert cache_folder() == tmp_path / "home" / ".cache" / "herd"
    assert cache_folder().is_dir()


def test_entries_are_read_once_and_written_with_what_others_wrote_meanwhile(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours, theirs = (EntryCache(cache / "book.json", 100) for _ in range(2))
    cache.mkdir(exist_ok=True)
    for number in range(50):
        ours.put(f"ours-{number}", number)
    ours.save()
    for number in range(50):
        theirs.put(f"theirs-{number}", number)
    theirs.save()
    ours.put("ours-50", 50)
    parsed: list[str] = []
    loads = json.loads
    monkeypatch.setattr(cache_module.json, "loads", lambda text: parsed.append(text) or loads(text))
    ours.save()
    ours.save()  # nothing is new
    assert len(parsed) == 1
    again = EntryCache(cache / "book.json", 100)
    names = [*(f"ours-{number}" for number in range(51)), *(f"theirs-{number}" for number in range(50))]
    kept = [name for name in names if again.get(name) == int(name.partition("-")[2])]
    assert len(kept) == 100  # the newest
    assert "ours-50" in kept
    assert not list(cache.glob("*.partial"))


WRITER = """
import os, sys
from herd.core.cache import entry_cache
entries = entry_cache("book", 100_000)
for number in range(30):
    entries.put(f"{sys.argv[1]}-{number}", number)
    if number % 3 == 0:
        entries.save()
"""


def test_several_processes_write_one_book_and_nothing_is_lost(cache: Path) -> None:
    writers = [subprocess.Popen([sys.executable, "-c", WRITER, str(number)]) for number in range(4)]
    assert [writer.wait(timeout=120) for writer in writers] == [0] * 4
    written = json.loads((cache / "book.json").read_text())
    assert written == {f"{writer}-{number}": number for writer in range(4) for number in range(30)}


@pytest.mark.parametrize("text", ["{", "", "[1]", "\udcff"])
def test_a_book_that_is_torn_is_begun_anew(text: str, cache: Path) -> None:
    cache.mkdir()
    (cache / "book.json").write_bytes(text.encode(errors="surrogateescape"))
    entries = EntryCache(cache / "book.json", 10)
    assert entries.get("a") is None
    entries.put("a", 1)
    entries.save()
    assert EntryCache(cache / "book.json", 10).get("a") == 1


def test_without_a_place_for_it_a_book_is_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("HERD_CACHE", str(tmp_path / "file" / "cache"))
    entries = entry_cache("book", 10)
    entries.put("a", 1)
    entries.save()
    assert entry_cache("book", 10).get("a") == 1


def test_a_package_is_the_pinned_file_or_is_taken_away(cache: Path) -> None:
    wheel = cache / "packages" / "thing-1.0.whl"
    wheel.parent.mkdir(parents=True)
    wheel.write_bytes(b"a wheel")
    digest = hashlib.sha256(b"a wheel").hexdigest()
    assert fetch_package("thing", "1.0", digest) == wheel
    wheel.write_bytes(b"another")
    with pytest.raises(DataError, match=r"thing 1\.0: the file fetched is not the one pinned"):
        fetch_package("thing", "1.0", digest)
    assert not wheel.exists()  # so that the next run fetches it again


def test_a_package_that_cannot_be_fetched_says_where_to_put_it(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/bin/false")
    with pytest.raises(DataError, match=r"could not be fetched with pip \(pip said nothing\)") as told:
        fetch_package("thing", "1.0", "0")
    assert str(cache / "packages" / "thing-1.0.whl") in str(told.value)
    assert not list((cache / "packages").iterdir())  # the scratch folder is gone too
