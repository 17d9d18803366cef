"""Plain data between two locked processes: bounded messages, and values of the types that carry no behaviour.

Only values of exactly these types are copied, never of a class derived from one: a derived class could bring its own
`__eq__`. What is anything else stays where it is, and only a number for it is sent (see `herd.sandbox.proxies`).
"""

from __future__ import annotations

import collections
import datetime
import decimal
import fractions
import json
import math
import os
import struct
from collections.abc import Callable
from typing import Any

LOCK_WORD = b"locked\n"  # the first that a run says to its parent
_MESSAGE_BYTES = 8 << 20
_LARGE = 1 << 53
_DEPTH = 150

_TEXTS: dict[str, tuple[type, Callable[[Any], str], Callable[[str], Any]]] = {
    "b": (bytes, bytes.hex, bytes.fromhex),
    "y": (bytearray, bytearray.hex, bytearray.fromhex),
    "D": (decimal.Decimal, str, decimal.Decimal),
    "F": (fractions.Fraction, str, fractions.Fraction),
    "date": (datetime.date, datetime.date.isoformat, datetime.date.fromisoformat),
}
_LISTS: dict[str, type] = {"t": tuple, "s": set, "z": frozenset, "q": collections.deque}
_MAPPINGS: dict[str, type] = {"d": dict, "O": collections.OrderedDict, "C": collections.Counter}
_TAGS = {kind: tag for tag, (kind, _, _) in _TEXTS.items()} | {kind: tag for tag, kind in (_LISTS | _MAPPINGS).items()}
_TAGS[collections.defaultdict] = "d"  # what it gives for a missing key is behaviour, and stays behind
MUTABLE = (list, dict, set, bytearray, *(getattr(collections, name) for name in ("deque", "OrderedDict", "Counter")))


_ENDED = struct.Struct("=?iqdd?")


def pack_ending(exit_code: int, peak_bytes: int, cpu_seconds: float, waited: float, stopped: bool, cause: str) -> bytes:
    """What a fork server says of a run that ended. See `herd.sandbox.exchange.Ending`."""
    return _ENDED.pack(True, exit_code, peak_bytes, cpu_seconds, waited, stopped) + cause.encode()


def pack_fault(fault: str) -> bytes:
    """What a fork server says of a run that never began."""
    return b"\0" + fault.encode(errors="replace")


def unpack_ending(data: bytes) -> dict[str, Any]:
    """What a fork server said of a run, by name; only `fault` for one that never began."""
    if not data:
        return {"fault": "the fork server ended"}
    if not data[0]:
        return {"fault": data[1:].decode(errors="replace")}
    _, *numbers = _ENDED.unpack_from(data)
    names = ("exit_code", "peak_bytes", "cpu_seconds", "waited", "stopped")
    return {**dict(zip(names, numbers, strict=True)), "cause": data[_ENDED.size :].decode()}


class PeerGoneError(Exception):
    """The other process ended, or sent what is no message."""


class Connection:
    """Messages to and from another process, through two pipes."""

    def __init__(self, incoming: int, outgoing: int) -> None:
        self._incoming, self._outgoing = incoming, outgoing

    def send(self, message: Any) -> None:
        """Raises PeerGoneError; ValueError for more than a message may hold."""
        data = json.dumps(message).encode()
        if len(data) > _MESSAGE_BYTES:
            raise ValueError(f"a value of more than {_MESSAGE_BYTES:,} bytes")
        data = struct.pack(">I", len(data)) + data
        try:
            while data:
                data = data[os.write(self._outgoing, data) :]
        except OSError as fault:
            raise PeerGoneError("it ended") from fault

    def receive(self) -> Any:
        """Raises PeerGoneError."""
        (size,) = struct.unpack(">I", self._read(4))
        if size > _MESSAGE_BYTES:
            raise PeerGoneError("it sent a message that is too long")
        try:
            return json.loads(self._read(size))
        except (ValueError, RecursionError) as fault:
            raise PeerGoneError("it sent what is no message") from fault

    def _read(self, size: int) -> bytes:
        parts = []
        while size:
            try:
                part = os.read(self._incoming, min(size, 1 << 16))
            except OSError as fault:
                raise PeerGoneError("it ended") from fault
            if not part:
                raise PeerGoneError("it ended")
            parts.append(part)
            size -= len(part)
        return b"".join(parts)


def encode_value(value: Any, convert: Callable[[Any], Any], depth: int = 0) -> Any:
    """A value as JSON. other: what is sent for a value of no plain type, a mapping of one key that is not used here.

    Raises ValueError for values nested too deeply, as when one contains itself.
    """
    kind = type(value)
    if value is None or kind is bool or kind is str:
        return value
    if kind is int:
        return value if -_LARGE < value < _LARGE else {"i": hex(value)}
    if kind is float:
        return value if math.isfinite(value) else {"f": repr(value)}
    if depth > _DEPTH:
        raise ValueError("a value nested too deeply")
    if kind is list:
        return [encode_value(element, convert, depth + 1) for element in value]
    tag = _TAGS.get(kind)
    if tag in _TEXTS:
        return {tag: _TEXTS[tag][1](value)}
    if tag in _LISTS:
        return {tag: [encode_value(element, convert, depth + 1) for element in value]}
    if tag in _MAPPINGS:
        return {
            tag: [
                [encode_value(key, convert, depth + 1), encode_value(element, convert, depth + 1)]
                for key, element in value.items()
            ]
        }
    if kind is complex:
        return {"c": [encode_value(value.real, convert), encode_value(value.imag, convert)]}
    if kind is range:
        return {"r": [encode_value(element, convert) for element in (value.start, value.stop, value.step)]}
    if kind is datetime.timedelta:
        return {"delta": [value.days, value.seconds, value.microseconds]}
    if kind is datetime.datetime and value.tzinfo is None:
        return {"datetime": [value.isoformat(), value.fold]}
    if kind is datetime.time and value.tzinfo is None:
        return {"time": [value.isoformat(), value.fold]}
    return convert(value)


def decode_value(data: Any, convert: Callable[[dict[str, Any]], Any]) -> Any:
    """The value of JSON that `encode` made. other: the value of a mapping that `encode` does not make itself.

    Raises ValueError or TypeError for what is none.
    """
    if isinstance(data, list):
        return [decode_value(element, convert) for element in data]
    if not isinstance(data, dict):
        return data
    if len(data) != 1:
        return convert(data)
    ((tag, body),) = data.items()
    if tag in _TEXTS:
        return _TEXTS[tag][2](str(body))
    if tag in _LISTS:
        return _LISTS[tag]([decode_value(element, convert) for element in body])
    if tag in _MAPPINGS:
        return _MAPPINGS[tag]({decode_value(key, convert): decode_value(element, convert) for key, element in body})
    simple: dict[str, Callable[[], Any]] = {
        "i": lambda: int(body, 16),
        "f": lambda: float(body),
        "c": lambda: complex(*(decode_value(element, convert) for element in body)),
        "r": lambda: range(*(decode_value(element, convert) for element in body)),
        "delta": lambda: datetime.timedelta(*body),
        "datetime": lambda: datetime.datetime.fromisoformat(body[0]).replace(fold=body[1]),
        "time": lambda: datetime.time.fromisoformat(body[0]).replace(fold=body[1]),
    }
    return simple[tag]() if tag in simple else convert(data)
