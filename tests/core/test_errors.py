"""Faults as sentences: near names, and causes that are known by their mend."""

from __future__ import annotations

import errno
import inspect
import os
import pickle
import re
from pathlib import Path

import pytest

from herd.core.errors import (
    ArtifactError,
    BusyError,
    CorruptArtifactError,
    DataError,
    HerdError,
    SettingsError,
    StoppedError,
    TrainingError,
    did_you_mean,
    is_full_disk,
    is_out_of_memory,
    to_herd_error,
)
from herd.core.rowfiles import RowError
from herd.evals.endpoint import ServerAwayError


def error_types(kind: type[HerdError] = HerdError) -> set[type[HerdError]]:
    """Herd's own; other tests define some too."""
    return {kind}.union(*map(error_types, (sub for sub in kind.__subclasses__() if sub.__module__.startswith("herd."))))


def test_every_error_survives_the_way_from_a_worker() -> None:
    assert {RowError, ServerAwayError} <= error_types()
    for kind in error_types():
        own = inspect.isfunction(kind.__init__)
        fault = kind(*inspect.signature(kind).parameters) if own else kind("what happened")
        again = pickle.loads(pickle.dumps(fault))
        assert (type(again), str(again), vars(again)) == (kind, str(fault), vars(fault))


def test_errors_with_arguments_of_their_own_are_among_those() -> None:
    """All classes in herd whose base is an error of herd are loaded by this file."""
    loaded = {kind.__name__ for kind in error_types()}
    sources = Path(__file__).parents[2] / "herd"
    bases = re.compile(r"^class (\w+)\((.*)\):", re.MULTILINE)
    defined = {
        name
        for file in sources.rglob("*.py")
        for name, parents in bases.findall(file.read_text(encoding="utf-8"))
        if loaded & set(re.findall(r"\w+", parents))
    }
    assert defined == loaded - {"HerdError"}


def test_near_names_are_guessed_and_far_ones_listed() -> None:
    assert did_you_mean("peek", ["peak", "other"]) == "; did you mean 'peak'?"
    assert did_you_mean("xyz", ["peak", "other"]) == "; valid: other, peak"
    assert did_you_mean("xyz", []) == ""


def test_unforeseen_faults_keep_their_words() -> None:
    assert str(to_herd_error(KeyError("x"), "stage a")).startswith("stage a: KeyError: 'x'")
    assert "out of memory" in str(to_herd_error(MemoryError(), "stage a"))
    known = HerdError("told")
    assert to_herd_error(known, "stage a") is known


def test_every_kind_of_fault_has_the_exit_code_of_its_door() -> None:
    """2: wrong use. 1: failure. 143: ended by SIGTERM, as a shell shows it."""
    kinds = {SettingsError: 2, BusyError: 2, DataError: 1, CorruptArtifactError: 1, TrainingError: 1, StoppedError: 143}
    assert {kind: kind("x").exit_code for kind in kinds} == kinds
    assert issubclass(SettingsError, ValueError)  # so that pydantic tells it with its place


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG])
def test_a_disk_without_room_is_told_with_the_file(number: int) -> None:
    fault = OSError(number, os.strerror(number), "/there/weights")
    assert is_full_disk(fault)
    told = str(to_herd_error(fault, "stage pack"))
    assert told.startswith("stage pack: no space left on the disk while writing /there/weights; ")
    assert "--out" in told
    assert not is_full_disk(OSError(errno.EACCES, "Permission denied"))


@pytest.mark.parametrize(
    "words", ["No space left on device (os error 28)", "File too large (os error 27)", "Disk quota exceeded"]
)
def test_a_full_disk_is_known_by_the_words_of_native_writers_too(words: str) -> None:
    assert is_full_disk(RuntimeError(f"I/O error: {words}"))
    assert "no space left on the disk; free some" in str(to_herd_error(RuntimeError(words), "stage pack"))


@pytest.mark.parametrize(
    ("fault", "known"),
    [
        (MemoryError(), True),
        (RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB"), True),
        (RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried"), True),
        (ValueError("the word memory, or out of memory, in a text"), False),
        (RuntimeError("shapes differ"), False),
    ],
)
def test_used_up_memory_is_known_by_whoever_says_so(fault: Exception, known: bool) -> None:
    assert is_out_of_memory(fault) == known
    assert ("out of memory; use fewer --jobs" in str(to_herd_error(fault, "stage pack"))) == known


def test_a_damaged_folder_travels_with_its_sentence() -> None:
    fault = CorruptArtifactError("a file is damaged; delete it", Path("artifacts/a-1"))
    again = pickle.loads(pickle.dumps(fault))  # as a worker sends it
    assert (str(again), again.folder) == (str(fault), fault.folder)
    assert isinstance(again, ArtifactError)
