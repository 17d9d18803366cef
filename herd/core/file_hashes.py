"""The sha256 of files from outside, which tell a stage by their contents: read in threads, and once as long as size and
time stay."""

from __future__ import annotations

import hashlib
import os
import threading
import time
from collections import deque
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path

from herd.core.cache import EntryCache, entry_cache
from herd.core.status_line import StatusLine
from herd.core.terminal import count_of

CACHE_NAME = "sha256"
_MAX_ENTRIES = 500_000  # files that are remembered, the newest ones
_CHUNK_BYTES = 1 << 20  # held of a file at once, however large it is
_OPENING_BYTES = 1 << 16  # as which opening a file counts, for the time left
_SMALL_BYTES = 1 << 24
_MAX_THREADS = 32
_QUIET_SECONDS = 1.0
_LOOK_SECONDS = 0.1
_SAVE_SECONDS = 5.0  # of hashing, the most that is lost with a process that is killed


def file_hashes(files: Sequence[Path], *, remembered_bytes: int = 0) -> list[str]:
    """The sha256 of each file, in hexadecimal digits.

    What takes longer than a second tells how far it is on standard error. remembered_bytes: of a file; smaller ones are
    read each time. Raises OSError, with the name, for a file that is not there or cannot be read.
    """
    cache, identified = entry_cache(CACHE_NAME, _MAX_ENTRIES), _identified(files)
    hashes: dict[str, str] = {}
    for file in identified:
        entry = cache.get(file.name) if file.size >= remembered_bytes else None
        if isinstance(entry, dict) and entry.get("mark") == file.mark and isinstance(entry.get("value"), str):
            hashes[file.name] = entry["value"]
    todo = list({file.name: file for file in identified if file.name not in hashes}.values())
    if todo:
        hashes |= _Hashing(todo, cache, remembered_bytes).run()
    return [hashes[file.name] for file in identified]


@dataclass(frozen=True)
class _File:
    """name: the path without links, by which it is remembered. mark: what changes when the file does."""

    path: Path
    name: str
    size: int
    mark: str


def _identified(files: Sequence[Path]) -> list[_File]:
    folders: dict[str, str] = {}  # without links: looked up once for all that lie in one
    identified: list[_File] = []
    for path in files:
        folder, name = os.path.split(os.path.abspath(path))
        if folder not in folders:
            folders[folder] = os.path.realpath(folder)
        real = os.path.join(folders[folder], name)
        if os.path.islink(real):
            real = os.path.realpath(real)
        status = path.stat()
        identified.append(_File(path, real, status.st_size, f"{status.st_size}/{status.st_mtime_ns}"))
    return identified


class _Hashing:
    """Threads that hash files, the largest first so that none is left over at the end; hashing leaves other threads
    Python's lock."""

    def __init__(self, files: Sequence[_File], cache: EntryCache, remembered_bytes: int) -> None:
        self._todo = deque(sorted(files, key=lambda file: -file.size))
        self._cache, self._remembered_bytes = cache, remembered_bytes
        self._total = sum(file.size + _OPENING_BYTES for file in files)
        self._done = 0
        self._lock, self._stop = threading.Lock(), threading.Event()
        self._new: deque[tuple[_File, str]] = deque()
        self._hashes: dict[str, str] = {}
        self._threads = min(_MAX_THREADS, len(files), (os.cpu_count() or 1) + 4)
        self._line = StatusLine(
            f"hashing {count_of(len(files), 'file')}", words=_size_words, quiet_seconds=_QUIET_SECONDS
        )

    def run(self) -> dict[str, str]:
        """The hashes by name. What is hashed when a file cannot be read, or at Ctrl-C, is kept."""
        saved = time.monotonic()
        if len(self._todo) == 1 and self._total < _SMALL_BYTES:  # not worth a thread
            self._work()
            self._keep()
            return self._hashes
        try:
            with ThreadPoolExecutor(self._threads) as pool:
                try:
                    running = {pool.submit(self._work) for _ in range(self._threads)}
                    while running:
                        done, running = wait(running, timeout=_LOOK_SECONDS)
                        for future in done:
                            future.result()
                        self._keep()
                        self._line(self._done, self._total)
                        if time.monotonic() - saved > _SAVE_SECONDS:
                            self._cache.save()
                            saved = time.monotonic()
                finally:
                    self._stop.set()
        finally:
            self._keep()
            self._line.clear()
        return self._hashes

    def _keep(self) -> None:
        while self._new:
            file, value = self._new.popleft()
            self._hashes[file.name] = value
            if file.size >= self._remembered_bytes:
                self._cache.put(file.name, {"mark": file.mark, "value": value})

    def _work(self) -> None:
        buffer = bytearray(_CHUNK_BYTES)
        while self._todo and not self._stop.is_set():
            try:
                file = self._todo.popleft()
            except IndexError:  # another thread took the last one
                return
            try:
                value = self._hash(file.path, buffer)
            except OSError as fault:
                fault.filename = fault.filename or str(file.path)
                raise
            if not self._stop.is_set():
                self._new.append((file, value))

    def _hash(self, path: Path, buffer: bytearray) -> str:
        """In pieces, so that a file may be of any size; of no use when all shall stop."""
        digest, view = hashlib.sha256(), memoryview(buffer)
        with path.open("rb", buffering=0) as stream:
            self._count(_OPENING_BYTES)
            while not self._stop.is_set() and (size := stream.readinto(buffer)):
                digest.update(view[:size])
                self._count(size)
        return digest.hexdigest()

    def _count(self, size: int) -> None:
        with self._lock:
            self._done += size


def _size_words(count: float) -> str:
    return f"{count / 1e9:,.1f} GB" if count >= 1e9 else f"{count / 1e6:,.1f} MB"
