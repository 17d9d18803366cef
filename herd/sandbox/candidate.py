"""The end that has the program under test: it runs it, and does what the tests ask of its objects."""

from __future__ import annotations

import contextlib
import io
import sys
import types
from collections.abc import Callable
from typing import Any

from herd.sandbox.sides import BUILTIN_NAMES, Side, find_builtin, special_names
from herd.sandbox.wire import MUTABLE, Connection, PeerGoneError, decode_value, encode_value

_OUTPUT_BYTES = 1 << 16
_TEXT = 2000
_PLAIN_BASES = (str, bytes, int, float, complex, list, tuple, dict, set, frozenset)


def _text(value: BaseException) -> str:
    try:
        return str(value)[:_TEXT]
    except BaseException:
        return ""


class _Candidate(Side):
    """The end that has the program."""

    def __init__(self, connection: Connection, names: dict[str, Any]) -> None:
        super().__init__(connection)
        self.names = names
        self._described: dict[int, None] = {}  # classes, in their order
        self._callbacks: dict[tuple[str, ...], type] = {}
        self._known: dict[int, _Callback] = {}

    def encode(self, value: Any) -> Any:
        before = len(self._described)
        try:
            return encode_value(value, self._other)
        except BaseException:
            self._forget_from(before)
            raise

    def _forget_from(self, count: int) -> None:
        """The descriptions after so many were not sent."""
        for number in list(self._described)[count:]:
            del self._described[number]

    def decode(self, data: Any) -> Any:
        return decode_value(data, self._own)

    def _other(self, value: Any) -> Any:
        name = BUILTIN_NAMES.get(id(value))
        if name is not None and (isinstance(value, type) or not callable(value)):
            return {"n": name}
        if isinstance(value, _Callback):
            return {"back": object.__getattribute__(value, "_number")}
        if isinstance(value, type):
            return {"k": self._describe(value)}
        row = {"o": self.number(value), "class": self._describe(type(value))}
        for base in _PLAIN_BASES:
            if isinstance(value, base):
                # By the base's own methods: what the derived class does with itself is not asked.
                items = dict(dict.items(value)) if base is dict else base.__new__(base, value)  # type: ignore[arg-type]
                if base in (list, set):
                    items = base(base.__iter__(value))  # type: ignore[attr-defined]
                row["plain"] = encode_value(items, self._other)
                break
        return row

    def _describe(self, kind: type) -> dict[str, Any]:
        number = self.number(kind)
        if number in self._described:
            return {"id": number}
        self._described[number] = None
        return {
            "id": number,
            "name": str(kind.__name__),
            "bases": [self._other(base) for base in kind.__bases__ if base is not object],
            "special": special_names(kind),
        }

    def _own(self, data: dict[str, Any]) -> Any:
        if "n" in data:
            return find_builtin(data["n"])
        if "o" in data:
            return self.objects[data["o"]]
        special = tuple(data["special"])
        if special not in self._callbacks:
            forwards = {name: _forward_back(self, name) for name in special}
            if "__eq__" in forwards:
                forwards.setdefault("__hash__", object.__hash__)
            self._callbacks[special] = type("Callback", (_Callback,), forwards)
        number = data["back"]
        if number not in self._known:  # one object of the tests is one object here
            callback = self._callbacks[special]()
            object.__setattr__(callback, "_number", number)
            object.__setattr__(callback, "_side", self)
            self._known[number] = callback
        return self._known[number]

    def back(self, number: int, operation: str, *arguments: Any, **named: Any) -> Any:
        """What the tests' object gives for an operation."""
        row = {name: self.encode(value) for name, value in named.items()}
        answer = self.ask("back", number, operation, [self.encode(element) for element in arguments], row)
        if "e" in answer:
            kind = find_builtin(answer["e"]["n"])
            raise kind(*self.decode(answer["e"]["args"]))
        return self.decode(answer["v"])

    def reply(self, message: list[Any]) -> dict[str, Any]:
        operation, *rest = message
        arguments: list[Any] = []
        row: dict[str, Any] = {}
        before_all = len(self._described)
        try:
            if operation == "names":
                row["v"] = self._public_names()
            else:
                value, arguments, before = self._do(operation, rest)
                row["v"] = self.encode(value)
                changed = [
                    [n, self.encode(element)] for n, element in enumerate(arguments) if isinstance(element, MUTABLE)
                ]
                row["m"] = [[n, data] for n, data in changed if data != before[n]]
        except PeerGoneError:
            raise
        except BaseException as fault:
            self._forget_from(before_all)
            row = {"e": self._fault(fault)}
        printed = sys.stdout
        if isinstance(printed, _Output):
            row["p"] = printed.drain()
        return row

    def _public_names(self) -> list[Any]:
        listing = []
        for name, value in list(self.names.items()):
            if isinstance(value, types.ModuleType):
                listing.append([name, {"module": str(value.__name__)}])
            elif not name.startswith("__"):
                with contextlib.suppress(Exception):  # asked for by name, it says why
                    listing.append([name, self.encode(value)])
        return listing

    def _do(self, operation: str, rest: list[Any]) -> tuple[Any, list[Any], list[Any]]:
        """The value, and the arguments with their encoding before, which a call may have changed."""
        if operation == "global":
            return self.names[rest[0]], [], []
        if operation == "set global":
            self.names[rest[0]] = self.decode(rest[1])
            return None, [], []
        if operation == "delete global":
            return self.names.pop(rest[0], None) and None, [], []
        target = self.objects[rest[0]]
        if operation == "get":
            return getattr(target, rest[1]), [], []
        if operation == "set":
            return setattr(target, rest[1], self.decode(rest[2])), [], []
        if operation == "delete":
            return delattr(target, rest[1]), [], []
        arguments = [self.decode(element) for element in rest[2]]
        named = {name: self.decode(element) for name, element in rest[3].items()}
        if operation == "call":
            return target(*arguments, **named), arguments, rest[2]
        assert operation == "special"
        return getattr(type(target), rest[1])(target, *arguments, **named), arguments, rest[2]

    def _fault(self, fault: BaseException) -> dict[str, Any]:
        try:
            arguments = [self.encode(element) for element in fault.args]
        except BaseException:
            arguments = []
        kind = type(fault)
        name = BUILTIN_NAMES.get(id(kind))
        try:
            described = {"n": name} if name else {"k": self._describe(kind)}
        except BaseException:
            described = {"n": "Exception"}
        row: dict[str, Any] = {"class": described, "args": arguments, "text": _text(fault)}
        if name is None:
            row["o"] = self.number(fault)
        return row


class _Callback:
    """An object of the tests, as the candidate sees it."""

    def __getattr__(self, name: str) -> Any:
        return object.__getattribute__(self, "_side").back(object.__getattribute__(self, "_number"), "get", name)

    def __setattr__(self, name: str, value: Any) -> None:
        object.__getattribute__(self, "_side").back(object.__getattribute__(self, "_number"), "set", name, value)


def _forward_back(side: _Candidate, name: str) -> Callable[..., Any]:
    def forward(self: _Callback, *arguments: Any, **named: Any) -> Any:
        return side.back(object.__getattribute__(self, "_number"), name, *arguments, **named)

    return forward


class _Output(io.StringIO):
    """What the candidate prints, until it is sent; what is too much is dropped."""

    def write(self, text: str) -> int:
        return super().write(text) if self.tell() < _OUTPUT_BYTES else len(text)

    def drain(self) -> str:
        text = self.getvalue()[:_OUTPUT_BYTES]
        self.seek(0)
        self.truncate()
        return text


def serve_candidate(connection: Connection, code: str, names: dict[str, Any]) -> None:
    """Runs a program, then does what the tests ask, until they end."""
    side = _Candidate(connection, names)
    sys.stdout = _Output()
    fault: BaseException | None = None
    try:
        exec(compile(code, "<program>", "exec"), names)  # noqa: S102 - what the sandbox is for
    except BaseException as problem:
        fault = problem
    try:
        message = connection.receive()
        connection.send(side.reply(message["ask"]) if fault is None else {"e": side._fault(fault)})
        while True:
            message = connection.receive()
            connection.send(side.reply(message["ask"]))
    except PeerGoneError:
        return
