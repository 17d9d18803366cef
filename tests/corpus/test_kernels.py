"""The compiled half: built once, told when it cannot be, and exact about what it is given."""

from __future__ import annotations

import ctypes
from pathlib import Path

import pyarrow as arrow
import pytest
from hypothesis import given
from hypothesis import strategies as st

from herd.core.errors import HerdError
from herd.corpus import kernels
from herd.corpus.characters import STOP_WORDS


def test_the_sources_build_into_any_folder(tmp_path: Path) -> None:
    made = kernels.build(tmp_path / "new")
    assert ctypes.CDLL(str(made)).herd_utf8_fault(b"abc", ctypes.c_int64(3)) == -1
    assert [file.name for file in made.parent.iterdir()] == [made.name]


def test_a_machine_without_a_compiler_is_told_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CXX", raising=False)
    monkeypatch.setattr(kernels.shutil, "which", lambda name: None)
    monkeypatch.setattr(kernels.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(HerdError, match="no compiler was found; install one"):
        kernels._compiler()


def test_a_compiler_that_fails_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CXX", "false")
    with pytest.raises(HerdError, match="do not compile with false"):
        kernels.build(tmp_path)


@given(st.lists(st.text(max_size=20)))
def test_texts_keep_their_places(texts: list[str]) -> None:
    """Packed from a list, from an Arrow column and from a slice of one, they are the same texts."""
    column = arrow.array(["x", *texts, "y"], arrow.large_string())[1:-1]
    for packed in (kernels.pack(texts), kernels.pack(column), kernels.pack(column.cast(arrow.string()))):
        assert list(packed.heads(1 << 20)) == texts
        assert packed.lengths.tolist() == [len(text.encode()) for text in texts]


@given(st.binary(max_size=40))
def test_what_is_utf_8_is_what_python_says(data: bytes) -> None:
    found = kernels.library().herd_utf8_fault(data, ctypes.c_int64(len(data)))
    good = data.decode("utf-8", "ignore").encode() == data
    assert (found == -1) == good
    if not good:
        data[:found].decode()
        with pytest.raises(UnicodeDecodeError) as fault:
            data.decode()
        assert fault.value.start == found


def test_every_language_has_eight_stop_words_or_so() -> None:
    assert all(7 <= len(set(words)) <= 9 for words in STOP_WORDS.values())
