"""The compiled half is exact about what it is given."""

from __future__ import annotations

import ctypes

import pyarrow as arrow
import pytest
from hypothesis import given
from hypothesis import strategies as st

from herd.corpus import kernels


@given(st.lists(st.text(max_size=20)))
def test_texts_keep_their_places(texts: list[str]) -> None:
    """Packed from a list, from an Arrow column and from a slice of one, they are the same texts."""
    column = arrow.array(["x", *texts, "y"], arrow.large_string())[1:-1]
    for packed in (
        kernels.pack_texts(texts),
        kernels.pack_texts(column),
        kernels.pack_texts(column.cast(arrow.string())),
    ):
        assert list(packed.heads(1 << 20)) == texts
        assert packed.lengths.tolist() == [len(text.encode()) for text in texts]


@given(st.binary(max_size=40))
def test_what_is_utf_8_is_what_python_says(data: bytes) -> None:
    found = kernels.corpus_kernels().herd_utf8_fault(data, ctypes.c_int64(len(data)))
    good = data.decode("utf-8", "ignore").encode() == data
    assert (found == -1) == good
    if not good:
        data[:found].decode()
        with pytest.raises(UnicodeDecodeError) as fault:
            data.decode()
        assert fault.value.start == found
