"""What is kept between runs: hashes until a file changes, and packages that are the pinned ones or nothing."""

from __future__ import annotations

import hashlib
import os
import sys
from pathlib import Path

import pytest

from herd.core.cache import cache_folder, fetch_package, remember
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


def test_a_value_is_computed_again_only_when_the_file_changes(tmp_path: Path) -> None:
    file, other = tmp_path / "a", tmp_path / "b"
    file.write_text("one")
    other.write_text("one")
    computed: list[str] = []

    def value() -> str:
        computed.append(file.read_text())
        return computed[-1]

    assert [remember("hash", file, value) for _ in range(2)] == ["one", "one"]
    assert remember("hash", other, lambda: "other") == "other"
    assert remember("length", file, lambda: "3") == "3"  # another book
    file.write_text("longer")
    assert remember("hash", file, value) == "longer"
    before = file.stat().st_mtime_ns
    file.write_text("LONGER")  # of the same size, at another time
    os.utime(file, ns=(before, before + 1))
    assert remember("hash", file, value) == "LONGER"
    assert computed == ["one", "longer", "LONGER"]


@pytest.mark.parametrize("text", ["{", "", '{"/elsewhere": {}}'])
def test_a_book_that_is_torn_is_begun_anew(text: str, cache: Path, tmp_path: Path) -> None:
    file = tmp_path / "a"
    file.write_text("one")
    cache.mkdir()
    (cache / "hash.json").write_text(text)
    assert [remember("hash", file, lambda: "h") for _ in range(2)] == ["h", "h"]
    assert remember("hash", file, lambda: "not asked") == "h"


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
