"""Plain data between processes."""

from __future__ import annotations

import collections
import datetime
import decimal
import fractions
import json
import os
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from herd.sandbox.wire import (
    Connection,
    PeerGoneError,
    decode_value,
    encode_value,
    pack_ending,
    pack_fault,
    unpack_ending,
)


def refuse(value: Any) -> Any:
    raise TypeError(f"no plain data: {value!r}")


hashable = st.none() | st.booleans() | st.integers() | st.text() | st.binary() | st.decimals(allow_nan=False)
plain = st.recursive(
    hashable | st.floats(allow_nan=False) | st.complex_numbers(allow_nan=False) | st.fractions() | st.dates()
    | st.datetimes() | st.timedeltas() | st.times(),
    lambda inner: st.lists(inner)
    | st.tuples(inner, inner)
    | st.dictionaries(hashable, inner)
    | st.sets(hashable)
    | st.frozensets(hashable),
    max_leaves=12,
)  # fmt: skip


@given(plain)
def test_values_come_over_as_they_are_and_of_their_type(value: Any) -> None:
    copy = decode_value(json.loads(json.dumps(encode_value(value, refuse))), refuse)
    assert copy == value
    assert type(copy) is type(value)
    assert repr(copy) == repr(value) or isinstance(value, (set, frozenset, dict, list, tuple))


@pytest.mark.parametrize(
    "value",
    [
        1 << 10_000, -(1 << 60), float("inf"), bytearray(b"x"), range(3, 9, 2), collections.deque([1, 2]),
        collections.OrderedDict(b=1, a=2), collections.Counter("aab"), decimal.Decimal("1.10"),
        fractions.Fraction(1, 3), datetime.timedelta(days=-1), datetime.time(2, fold=1),
        {(1, 2): [3]}, "\ud800", True, -0.0,
    ],
)  # fmt: skip
def test_some_that_are_easily_lost(value: Any) -> None:
    copy = decode_value(json.loads(json.dumps(encode_value(value, refuse))), refuse)
    assert copy == value
    assert type(copy) is type(value)
    assert str(copy) == str(value)


def test_nan_is_nan_and_a_default_is_left_behind() -> None:
    assert repr(decode_value(encode_value(float("nan"), refuse), refuse)) == "nan"
    assert type(decode_value(encode_value(collections.defaultdict(int, a=1), refuse), refuse)) is dict


class Derived(list):
    pass


@pytest.mark.parametrize("value", [Derived(), object(), print, Derived, [Derived()], {1: {2: object()}}])
def test_what_is_of_another_class_is_no_plain_data(value: Any) -> None:
    with pytest.raises(TypeError, match="no plain data"):
        encode_value(value, refuse)


def test_what_holds_itself_is_refused() -> None:
    row: list[Any] = []
    row.append(row)
    with pytest.raises(ValueError, match="nested too deeply"):
        encode_value(row, refuse)


def test_messages_arrive_whole_and_what_is_none_is_told() -> None:
    reading, writing = os.pipe()
    connection = Connection(reading, writing)
    connection.send({"a": [1, "é"]})
    assert connection.receive() == {"a": [1, "é"]}
    with pytest.raises(ValueError, match="more than"):
        connection.send("x" * (9 << 20))
    os.write(writing, b"\xff\xff\xff\xff")
    with pytest.raises(PeerGoneError, match="too long"):
        connection.receive()
    os.write(writing, b"\0\0\0\2{{")
    with pytest.raises(PeerGoneError, match="no message"):
        connection.receive()
    os.close(writing)
    with pytest.raises(PeerGoneError, match="it ended"):
        connection.receive()
    os.close(reading)


def test_how_a_run_ended_arrives_as_it_was_said() -> None:
    row = unpack_ending(pack_ending(-9, 1 << 40, 0.25, 1.5, True, "it wrote more than 5 bytes of files"))
    assert row == {
        "exit_code": -9, "peak_bytes": 1 << 40, "cpu_seconds": 0.25, "waited": 1.5, "stopped": True,
        "cause": "it wrote more than 5 bytes of files",
    }  # fmt: skip
    assert unpack_ending(pack_fault("no room é")) == {"fault": "no room é"}
    assert unpack_ending(b"") == {"fault": "the fork server ended"}
