"""C++ behind a plain C interface, built once and called by way of ctypes.

It needs no Python headers, serves every Python version and lets other threads run while a kernel works. A library is
named after a hash of its sources: a wheel brings it along, a checkout builds it at its first use, and changed
sources can never meet an old build.
"""

from __future__ import annotations

import ctypes
import hashlib
import importlib.util
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from herd.core.cache import cache_folder
from herd.core.errors import HerdError

# No -march=native: a build is shared by the machines of a cluster. Kernels that gain from wider registers
# are compiled for several kinds of processor and choose when they are loaded.
FLAGS = ("-O3", "-std=c++17", "-shared", "-fPIC", "-fvisibility=hidden", "-fno-math-errno", "-ffp-contract=fast", "-w")


def load(sources: Path) -> ctypes.CDLL:
    """The kernels whose sources are in this folder, built if they are not yet. Raises HerdError when that is
    impossible."""
    name = _name(sources)
    places = sources, cache_folder() / "kernels"
    found = next((folder / name for folder in places if (folder / name).exists()), None)
    # Beside the sources where that is allowed, as in a checkout; else in the user's cache.
    return ctypes.CDLL(str(found or build(sources, sources if os.access(sources, os.W_OK) else places[1])))


def build(sources: Path, folder: Path) -> Path:
    """Compiles the kernels into `folder`; returns the library. Safe when several processes do it at once."""
    folder.mkdir(parents=True, exist_ok=True)
    final = folder / _name(sources)
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        made = Path(scratch) / final.name
        files = [str(file) for file in sorted(sources.glob("*.cpp"))]
        command = [*_compiler(), *FLAGS, "-o", str(made), *files]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            fault = done.stderr.strip()[:600]
            raise HerdError(f"the kernels in {sources} do not compile with {command[0]}: {fault}")
        made.rename(final)
    for old in set(folder.glob(f"{_kind(sources)}-*.so")) - {final}:
        old.unlink(missing_ok=True)
    return final


def _kind(sources: Path) -> str:
    """Which room the kernels are of; rooms share the user's cache."""
    return sources.parent.name


def _name(sources: Path) -> str:
    digest = hashlib.sha256(" ".join(FLAGS).encode())
    for file in sorted(file for file in sources.iterdir() if file.suffix in (".cpp", ".hpp", ".inc")):
        digest.update(file.name.encode() + file.read_bytes())
    return f"{_kind(sources)}-{digest.hexdigest()[:16]}-{sys.platform}-{platform.machine()}.so"


def _compiler() -> list[str]:
    named = os.environ.get("CXX", "").split()
    if named:
        return named
    for name in ("c++", "g++", "clang++"):
        if found := shutil.which(name):
            return [found]
    if importlib.util.find_spec("ziglang"):
        return [sys.executable, "-m", "ziglang", "c++"]
    raise HerdError(
        "some kernels are C++ and no compiler was found; install one (Debian: `apt install g++`, "
        "macOS: `xcode-select --install`, anywhere: `pip install ziglang`) or name one in CXX"
    )
