"""Arrow files of others: what they hold is read, and what they say of themselves bounds nothing."""

from __future__ import annotations

import io
import struct
from typing import Any

import pyarrow as arrow
import pytest
from hypothesis import given
from hypothesis import strategies as st

from herd.core import arrow_streams
from herd.core.arrow_streams import arrow_batches, check_batch, check_buffers

TABLE = arrow.table(
    {
        "text": ["a", "b", "c"],
        "messages": [[{"role": "user", "content": "x"}]] * 3,
        "kind": arrow.array(["q", "q", "r"]).dictionary_encode(),
        "none": arrow.nulls(3),
    }
)


def packed(table: Any, *, as_file: bool = False, compression: str | None = None) -> bytes:
    sink = io.BytesIO()
    options = arrow.ipc.IpcWriteOptions(compression=compression)
    writer = (arrow.ipc.new_file if as_file else arrow.ipc.new_stream)(sink, table.schema, options=options)
    writer.write_table(table, max_chunksize=2)
    writer.close()
    return sink.getvalue()


def rows(data: bytes) -> list[dict[str, Any]]:
    found = []
    for batch in arrow_batches(io.BytesIO(data)):
        check_batch(batch)
        found += batch.to_pylist()
    return found


@pytest.mark.parametrize("as_file", [False, True])
@pytest.mark.parametrize("compression", [None, "zstd", "lz4"])
def test_what_was_written_is_read_in_both_formats(as_file: bool, compression: str | None) -> None:
    assert rows(packed(TABLE, as_file=as_file, compression=compression)) == TABLE.to_pylist()


def test_a_file_without_rows_still_has_columns() -> None:
    (batch,) = arrow_batches(io.BytesIO(packed(TABLE.slice(0, 0))))
    assert batch.num_rows == 0
    assert batch.schema.names == TABLE.schema.names


@pytest.mark.parametrize("place", [1, 10, 300, 832, -20])
def test_a_file_that_breaks_off_is_told(place: int) -> None:
    with pytest.raises(ValueError, match="breaks off"):
        rows(packed(TABLE)[:place])


def test_what_is_no_arrow_is_told() -> None:
    for data, why in ((b"", "is empty"), (b"PAR1" + b"x" * 99, "no Arrow file"), (b"[1, 2]\n" * 9, "no Arrow file")):
        with pytest.raises(ValueError, match=why):
            rows(data)


def test_a_length_that_is_said_is_not_believed() -> None:
    """A body of 2^40 bytes, and a header of 2^31: nothing of the kind is asked for."""
    with pytest.raises(ValueError, match="no Arrow file"):
        rows(b"\xff\xff\xff\xff" + struct.pack("<i", 2**31 - 1))
    data = bytearray(packed(TABLE))
    batch = data.index(b"\xff\xff\xff\xff", 8)
    header = batch + 8
    root = header + struct.unpack_from("<I", data, header)[0]
    fields = root - struct.unpack_from("<i", data, root)[0]
    body_length = root + struct.unpack_from("<H", data, fields + 4 + 2 * 3)[0]
    struct.pack_into("<q", data, body_length, 2**40)
    with pytest.raises(ValueError, match=r"takes 1,099,511,627,776 bytes, more than"):
        rows(bytes(data))
    struct.pack_into("<q", data, body_length, 2**28)  # within the limit, but not there
    with pytest.raises(ValueError, match="breaks off"):
        rows(bytes(data))


def test_buffers_that_unpack_to_too_much_are_not_unpacked(monkeypatch: pytest.MonkeyPatch) -> None:
    data = packed(arrow.table({"text": ["x" * 1_000_000]}), compression="zstd")
    assert len(data) < 2_000
    monkeypatch.setattr(arrow_streams, "MAX_BATCH_BYTES", 100_000)
    with pytest.raises(ValueError, match="unpacks to 1,000,0.. bytes, more than 100,000"):
        rows(data)


def test_dictionaries_are_bounded_together_and_by_how_often_they_are_said(monkeypatch: pytest.MonkeyPatch) -> None:
    said = arrow.table({"text": arrow.array(["x" * 50_000, "y"] * 100).dictionary_encode()})
    data = packed(said)
    assert len(rows(data)) == 200
    monkeypatch.setattr(arrow_streams, "MAX_BATCH_BYTES", 49_000)
    with pytest.raises(ValueError, match="more than 49,000"):
        rows(data)
    monkeypatch.setattr(arrow_streams, "MAX_BATCH_BYTES", 60_000)
    one = arrow.record_batch({"text": said.column(0).combine_chunks()})
    with pytest.raises(ValueError, match="200 values and 10,000,000 bytes; write it in smaller batches"):
        check_batch(one)
    monkeypatch.setattr(arrow_streams, "MAX_DICTIONARY_BYTES", 10_000)
    with pytest.raises(ValueError, match="dictionaries take more than 10,000"):
        rows(data)


def test_values_that_take_no_bytes_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(arrow_streams, "_MAX_VALUES", 5_000)
    nulls = arrow.ListArray.from_arrays([0, 10_000], arrow.nulls(10_000))
    with pytest.raises(ValueError, match="holds 10,001 values"):
        check_batch(arrow.record_batch({"a": nulls}))
    check_batch(arrow.record_batch({"a": [[1, 2], None], "b": [{"c": "x"}, {"c": None}]}))
    with pytest.raises(ValueError, match="a column of type"):
        check_batch(arrow.record_batch({"a": arrow.RunEndEncodedArray.from_arrays([3], ["x"])}))


def test_offsets_outside_their_buffer_are_told() -> None:
    data = packed(arrow.table({"text": ["ab", "c"]}))
    offsets = struct.pack("<3i", 0, 2, 3)
    assert data.count(offsets) == 1
    (batch,) = arrow_batches(io.BytesIO(data.replace(offsets, struct.pack("<3i", 0, 2, 2**30))))
    for check in (check_buffers, check_batch):
        with pytest.raises(ValueError, match="Length|offset"):
            check(batch)
    (batch,) = arrow_batches(io.BytesIO(data.replace(offsets, struct.pack("<3i", 0, 2**20, 3))))
    check_buffers(batch, full=False)
    with pytest.raises(ValueError, match="offset"):
        check_buffers(batch)


PACKED = packed(TABLE, compression="zstd")


@given(st.lists(st.tuples(st.integers(0, len(PACKED) - 1), st.integers(0, 255)), min_size=1, max_size=4))
def test_changed_bytes_are_read_or_told(changes: list[tuple[int, int]]) -> None:
    data = bytearray(PACKED)
    for place, value in changes:
        data[place] = value
    told = ""
    try:
        rows(bytes(data))
    except ValueError as fault:
        told = str(fault)
    assert "\n" not in told
