"""What can go wrong, as sentences: what happened, where, and how to mend it."""

from __future__ import annotations

import difflib
import errno
from collections.abc import Iterable
from pathlib import Path

# Writing can also stop at a quota or at a limit on the size of a file; the mend is the same.
FULL_DISK = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


class HerdError(Exception):
    """A fault whose text is one sentence for the user; printed without a traceback."""

    exit_code = 1


class SettingsError(HerdError, ValueError):
    """A recipe, a setting or a command line that cannot be right. Raised before anything runs."""

    exit_code = 2


class ArtifactError(HerdError):
    """An artifact that is missing, half-made, damaged or of the wrong type."""


class CorruptArtifactError(ArtifactError):
    """Something in `folder` that is not what was written there; a run that knows how makes it again."""

    def __init__(self, message: str, folder: Path | None = None) -> None:
        super().__init__(message)
        self.folder = folder


class DataError(HerdError):
    """Text that cannot be read, or too little of it."""


class SandboxError(HerdError):
    """Code of a model that cannot be run safely here."""


class TrainingError(HerdError):
    """Training that cannot start or cannot go on."""


class StoppedError(HerdError):
    """Work that was asked to end and did, with everything saved that is needed to go on."""

    exit_code = 143  # what a shell shows for SIGTERM


class BusyError(HerdError):
    """Somebody else is at work in the same folder."""

    exit_code = 2


def did_you_mean(name: str, valid: Iterable[str]) -> str:
    """`; did you mean 'x'?` with the nearest valid name, or the list of them when none is near."""
    names = sorted(valid)
    near = difflib.get_close_matches(name, names, n=1, cutoff=0.6)
    if near:
        return f"; did you mean {near[0]!r}?"
    return f"; valid: {', '.join(names)}" if names else ""


def to_herd_error(fault: BaseException, where: str) -> HerdError:
    """`fault` as a HerdError: known causes get their mend, the rest the class and the text.

    where: what was being done, for the sentence's start, such as `stage pack`.
    """
    if isinstance(fault, HerdError):
        return fault
    if is_full_disk(fault):
        name = getattr(fault, "filename", None)
        at = f" while writing {name}" if name else ""
        return HerdError(
            f"{where}: no space left on the disk{at}; free some or choose another folder with --out, "
            "then run the same command again: it goes on from what is whole"
        )
    if is_out_of_memory(fault):
        return HerdError(f"{where}: out of memory; use fewer --jobs, a smaller batch or a smaller model")
    return HerdError(f"{where}: {type(fault).__name__}: {fault}; --debug shows where it came from")


def is_out_of_memory(fault: BaseException) -> bool:
    """Whether `fault` says that memory is used up, in the words of Python, of PyTorch on a CPU, or of a GPU."""
    text = str(fault).lower() if isinstance(fault, RuntimeError) else ""
    return isinstance(fault, MemoryError) or "out of memory" in text or "can't allocate memory" in text


def is_full_disk(fault: BaseException) -> bool:
    """Whether `fault` says that the disk, a quota or a file-size limit is reached."""
    if isinstance(fault, OSError) and fault.errno in FULL_DISK:
        return True
    # Native writers (safetensors, Arrow) keep only the system's words.
    text = str(fault).lower()
    return "no space left on device" in text or "file too large" in text or "disk quota exceeded" in text
