"""C++ behind a plain C interface, built once and called by way of ctypes.

It needs no Python headers, serves every Python version and lets other threads run while a kernel works. A library is
named after a hash of its sources: a wheel brings it along, a checkout builds it at its first use, and changed
sources can never meet an old build.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import hashlib
import importlib.util
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import threading
import warnings
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from herd.core.errors import HerdError

# No -march=native: a build is shared by the machines of a cluster. Kernels that gain from wider registers
# are compiled for several kinds of processor and choose when they are loaded.
FLAGS = ("-O3", "-std=c++17", "-shared", "-fPIC", "-fvisibility=hidden", "-fno-math-errno", "-ffp-contract=fast", "-w")
SOURCE_SUFFIXES = (".cpp", ".hpp", ".inc")
# Set once somebody has been told that kernels are missing; processes started from here need not say it again.
_WARNED_VARIABLE = "HERD_KERNELS_WARNED"


def load(sources: Path) -> ctypes.CDLL:
    """The kernels whose sources are in this folder, built if they are not yet. Raises HerdError when that is
    impossible."""
    if os.environ.get("HERD_KERNELS") == "off":
        raise HerdError(f"the kernels in {sources} are switched off by HERD_KERNELS=off; unset it to have them")
    name = library_name(sources)
    folders = sources, _cache()
    for folder in folders:
        # One that came with a wheel may want a newer C library than this machine has; here it is built anew.
        with contextlib.suppress(OSError):
            return ctypes.CDLL(str(folder / name))
    # Beside the sources where that is allowed, as in a checkout; else in the user's cache.
    beside = os.access(sources, os.W_OK) and not (sources / name).exists()
    return ctypes.CDLL(str(build(sources, sources if beside else folders[1])))


def load_or_warn(sources: Path, fallback: str) -> ctypes.CDLL | None:
    """As `load`; None where it is impossible, with one warning for this process and those it starts.

    fallback: what happens without kernels, such as `PyTorch does the same, more slowly`.
    """
    try:
        return load(sources)
    except (HerdError, OSError) as fault:
        warned = set(os.environ.get(_WARNED_VARIABLE, "").split(","))
        if not warned & {"all", _room(sources)}:
            os.environ[_WARNED_VARIABLE] = ",".join(sorted((warned | {_room(sources)}) - {""}))
            warnings.warn(f"no compiled kernels, so {fallback}: {fault}", RuntimeWarning, stacklevel=3)
        return None


def kernel_folders(herd: Path = Path(__file__).parents[1]) -> list[Path]:
    """The folders of herd that hold sources of kernels."""
    return sorted(folder for folder in herd.glob("*/native") if any(folder.glob("*.cpp")))


def _is_built(sources: Path) -> bool:
    return any((place / library_name(sources)).exists() for place in (sources, _cache()))


def kernel_warning() -> str:
    """Why work will be slow on this machine, and the mend; empty where kernels are there or can be built.

    For a command that is about to start other processes: what it says is not said again by them.
    """
    missing = [sources for sources in kernel_folders() if not _is_built(sources)]
    try:
        if os.environ.get("HERD_KERNELS") == "off":
            raise HerdError("they are switched off by HERD_KERNELS=off")
        if missing:
            compiler()
    except HerdError as fault:
        os.environ[_WARNED_VARIABLE] = "all"
        return f"no compiled kernels, so curation takes about a hundred times as long, and training longer: {fault}"
    return ""


def build(sources: Path, folder: Path) -> Path:
    """Compiles the kernels into `folder`; returns the library. Of several processes one does it, and the others wait
    for it."""
    folder.mkdir(parents=True, exist_ok=True)
    final = folder / library_name(sources)
    before = _inode(final)  # of one that is there and cannot be loaded
    with _locked(folder):
        if _inode(final) == before:
            with tempfile.TemporaryDirectory(dir=folder) as scratch:
                _compile(sources, Path(scratch) / final.name).rename(final)
    for old in set(folder.glob(f"{_room(sources)}-*.so")) - {final}:
        old.unlink(missing_ok=True)
    return final


def _compile(sources: Path, library: Path) -> Path:
    """The files of `sources`, as many at once as there are cores, linked to one library."""

    def run(*arguments: str) -> None:
        command = [*compiler(), *FLAGS, *arguments]
        process = subprocess.run(command, capture_output=True, text=True, check=False)
        if process.returncode != 0:
            fault = process.stderr.strip()[:600]
            raise HerdError(f"the kernels in {sources} do not compile with {command[0]}: {fault}")

    objects = {file: str(library.with_name(f"{file.stem}.o")) for file in sorted(sources.glob("*.cpp"))}
    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        list(pool.map(lambda file: run("-c", "-o", objects[file], str(file)), objects))
    run("-o", str(library), *objects.values())
    return library


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Holds a folder against other processes that ask for it, where the file system has locks."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        with contextlib.suppress(OSError):
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _inode(file: Path) -> int | None:
    """What tells a file from another that took its name; None where there is none."""
    try:
        return file.stat().st_ino
    except OSError:
        return None


def start_building() -> None:
    """Has a process of its own build what is missing, so that the first stage that wants a kernel waits less for it."""
    if any(not _is_built(sources) for sources in kernel_folders()):
        _start("herd.core.native")


def _start(module: str) -> None:
    """Runs a module beside this process, which does not wait for it; what goes wrong there comes up again here."""
    from herd.core.same_python import module_command  # the build of a wheel has no use for it

    command = module_command(module)
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    threading.Thread(target=process.wait, daemon=True).start()  # or it stays a zombie while this process lives


def _build_missing() -> None:
    for sources in kernel_folders():
        if not _is_built(sources):
            load(sources)


def library_name(sources: Path) -> str:
    """The file name of these kernels when built for this machine; another one as soon as a source changes."""
    digest = hashlib.sha256(" ".join(FLAGS).encode())
    for file in sorted(file for file in sources.iterdir() if file.suffix in SOURCE_SUFFIXES):
        digest.update(file.name.encode() + file.read_bytes())
    return f"{_room(sources)}-{digest.hexdigest()[:16]}-{sys.platform}-{platform.machine()}.so"


def _room(sources: Path) -> str:
    """Which room the kernels are of; rooms share the user's cache."""
    return sources.parent.name


def _cache() -> Path:
    from herd.core.cache import cache_folder  # the build of a wheel imports this file and has no use for it

    return cache_folder() / "kernels"


def compiler() -> list[str]:
    """The command of a C++ compiler. Raises HerdError where there is none."""
    command = os.environ.get("CXX", "").split()
    if command:
        return command
    for name in ("c++", "g++", "clang++"):
        if path := shutil.which(name):
            return [path]
    if importlib.util.find_spec("ziglang"):
        return [sys.executable, "-m", "ziglang", "c++"]
    raise HerdError(
        "some kernels are C++ and no compiler was found; install one (Debian: `apt install g++`, "
        "macOS: `xcode-select --install`, anywhere: `pip install ziglang`) or name one in CXX"
    )


if __name__ == "__main__":
    _build_missing()
