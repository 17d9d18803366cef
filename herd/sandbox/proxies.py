"""A program under test and its tests in two processes: the tests see the program's objects through proxies.

Plain values are copied, so that the tests compare their own data with their own `==`. Everything else stays in the
candidate's process, and the tests hold a proxy of it: calls, attributes and operators go over. What would let a
candidate's object decide about the tests' data is not sent: a proxy is never asked whether it equals, is less than or
contains a plain value of the tests, and arithmetic with one only where the tests themselves made the object from a
class. Exceptions go over by type.

The other way, the candidate may call what the tests hand it (functions, iterators, objects), and can reach nothing else
of them: no name that begins with `_`, no frame, no module.
"""

from __future__ import annotations

import builtins
import importlib
import operator
import sys
import types
from collections.abc import Callable
from typing import Any

from herd.sandbox.sides import (
    ARITHMETIC,
    BUILTIN_NAMES,
    COMPARISONS,
    SPECIAL,
    ProxyLimitError,
    Side,
    find_builtin,
    special_names,
)
from herd.sandbox.wire import MUTABLE, Connection, PeerGoneError, decode_value, encode_value

_TEXT = 2000
_CALLABLES = (
    types.FunctionType, types.BuiltinFunctionType, types.MethodType, types.MethodDescriptorType,
    types.MethodWrapperType, types.WrapperDescriptorType, type,
)  # fmt: skip
_ITERATING_ONLY = (types.GeneratorType, types.CoroutineType, types.AsyncGeneratorType)
# Methods of plain types that say whether data of the tests is right, beside the operators.
_JUDGING = frozenset("startswith endswith issubset issuperset isdisjoint".split())
_CLOSED = (types.ModuleType, types.FrameType, types.TracebackType, types.CodeType)


class CandidateClass(type):
    """A class of the candidate, as the tests see it: a class here, so that `isinstance` and `except` work."""

    _side: TestsSide
    _number: int
    _is_function: bool  # see `mark_as_function`

    def __call__(cls, *arguments: Any, **named: Any) -> Any:
        value = cls._side.call(cls._number, arguments, named)
        if isinstance(value, Proxy) and not cls._is_function:
            object.__setattr__(value, "_own", True)
        return value

    def __getattr__(cls, name: str) -> Any:
        if name.startswith("__") and name not in ("__name__", "__members__", "__annotations__"):
            raise AttributeError(name)
        return cls._side.get(cls._number, name)

    def __setattr__(cls, name: str, value: Any) -> None:
        cls._side.set(cls._number, name, value)

    def __iter__(cls) -> Any:
        return iter(cls._side.special(cls._number, "__iter__", ()))

    def __len__(cls) -> int:
        return cls._side.special(cls._number, "__len__", ())

    def __bool__(cls) -> bool:
        return True

    def __getitem__(cls, key: Any) -> Any:
        return cls._side.special(cls._number, "__getitem__", (key,))

    def __new__(cls, _: str, bases: tuple[Any, ...], *__: Any, **___: Any) -> Any:
        side = next(base._side for base in bases if isinstance(base, CandidateClass))
        raise side.refuse("the tests derive a class from one of the candidate's")


def mark_as_function(value: Any) -> None:
    """What the tests call as a function may be a class all the same: then what it makes is what a function gives, which
    decides nothing about the tests' data, and no object that the tests wanted to have."""
    if isinstance(value, CandidateClass):
        type.__setattr__(value, "_is_function", True)


class Proxy:
    """An object of the candidate, as the tests see it."""

    _side: TestsSide
    _number: int
    _own = False  # whether the tests made it from a class
    _plain: tuple[Any, ...] = ()  # the value of the plain type that its class derives from

    def __getattr__(self, name: str) -> Any:
        if name in _JUDGING and not self._own:
            if self._plain:
                return getattr(self._plain[0], name)
            self._side.limit(f"an object of the candidate's class {type(self).__name__} judges plain data by {name}")
            raise AttributeError(name)
        return self._side.get(self._number, name)

    def __setattr__(self, name: str, value: Any) -> None:
        self._side.set(self._number, name, value)

    def __delattr__(self, name: str) -> None:
        self._side.delete(self._number, name)

    def __eq__(self, other: object) -> Any:
        return self._compare("__eq__", other)

    def __ne__(self, other: object) -> Any:
        equal = self._compare("__eq__", other)
        return equal if equal is NotImplemented else not equal

    def __hash__(self) -> int:
        return hash(self._plain[0]) if self._plain and "__hash__" in dir(type(self._plain[0])) else self._number

    def _compare(self, name: str, other: object) -> Any:
        if isinstance(other, Proxy):
            if self._number == other._number:
                return name in ("__eq__", "__le__", "__ge__")
            if self._plain and other._plain:
                return getattr(operator, name)(self._plain[0], other._plain[0])
            if name not in type(self)._special:  # type: ignore[attr-defined]
                return NotImplemented
            result = self._side.special(self._number, name, (other,))
            return result if result is NotImplemented else result is True
        if self._plain:
            return getattr(operator, name)(self._plain[0], other)
        if other is not None and not isinstance(other, type):
            self._side.limit(f"an object of the candidate's class {type(self).__name__} is compared with plain data")
        return NotImplemented


def _comparison(name: str) -> Callable[..., Any]:
    return lambda self, other: self._compare(name, other)


def _arithmetic(name: str) -> Callable[..., Any]:
    def operate(self: Proxy, other: Any, *more: Any) -> Any:
        if not (self._own or isinstance(other, Proxy)):
            if self._plain and not name.startswith("__i"):
                plain = getattr(type(self._plain[0]), name, None)
                return NotImplemented if plain is None else plain(self._plain[0], other, *more)
            self._side.limit(f"an object of the candidate's class {type(self).__name__} is computed with plain data")
            return NotImplemented
        result = self._side.special(self._number, name, (other, *more))
        if isinstance(result, Proxy) and self._own:
            object.__setattr__(result, "_own", True)
        return result

    return operate


def _contains(self: Proxy, member: Any) -> bool:
    if self._own or isinstance(member, Proxy):
        return self._side.special(self._number, "__contains__", (member,)) is True
    return any(element is member or element == member for element in self._side.special(self._number, "__iter__", ()))


def _forward(name: str) -> Callable[..., Any]:
    def forward(self: Proxy, *arguments: Any, **named: Any) -> Any:
        if name == "__exit__":  # its traceback is the tests'
            arguments = (arguments[0], arguments[1] if isinstance(arguments[1], Proxy) else None, None)
        return self._side.special(self._number, name, arguments, named)

    return forward


def _forwards(special: list[str]) -> dict[str, Any]:
    result: dict[str, Any] = {"_special": frozenset(special)}
    for name in special:
        if name in ("__eq__", "__ne__"):
            continue
        if name in COMPARISONS:
            result[name] = _comparison(name)
        elif name in ARITHMETIC:
            result[name] = _arithmetic(name)
        elif name == "__contains__":
            result[name] = _contains
        elif name in SPECIAL:
            result[name] = _forward(name)
    return result


class TestsSide(Side):
    """The end that has the tests. limits: what they wanted and two processes cannot give; refused: of that the first
    for which there was an exception, which the tests may have caught. ended: why the other end is no more, once it is
    not."""

    __test__ = False  # for pytest: no class of tests

    def __init__(self, connection: Connection) -> None:
        super().__init__(connection)
        self.limits: list[str] = []
        self.refused = self.ended = ""
        self._classes: dict[int, type] = {}
        self._proxies: dict[int, Any] = {}

    def limit(self, what: str) -> None:
        if what not in self.limits and len(self.limits) < 20:
            self.limits.append(what)

    def refuse(self, what: str) -> ProxyLimitError:
        self.limit(what)
        self.refused = self.refused or what
        return ProxyLimitError(what)

    def ask(self, *message: Any) -> dict[str, Any]:
        try:
            return super().ask(*message)
        except PeerGoneError as fault:
            self.ended = self.ended or str(fault)
            raise
        except ValueError as fault:
            raise self.refuse(str(fault)) from fault

    def no_message(self) -> PeerGoneError:
        self.ended = "it sent what is no message"
        return PeerGoneError(self.ended)

    def get(self, number: int, name: str) -> Any:
        return _named(name, self._result(self.ask("get", number, name)))

    def set(self, number: int, name: str, value: Any) -> None:
        self._result(self.ask("set", number, name, self.encode(value)))

    def delete(self, number: int, name: str) -> None:
        self._result(self.ask("delete", number, name))

    def read_global(self, name: str) -> Any:
        return _named(name, self._result(self.ask("global", name)))

    def write_global(self, name: str, value: Any) -> None:
        self._result(self.ask("set global", name, self.encode(value)))

    def delete_global(self, name: str) -> None:
        self._result(self.ask("delete global", name))

    def public_names(self) -> dict[str, Any]:
        """The names that the program defines, and their values. Raises what it raised."""
        answer = self.ask("names")
        self._check(answer)
        return {str(name): _named(str(name), self.decode(data)) for name, data in answer["v"] if _is_here(data)}

    def call(self, number: int, arguments: tuple[Any, ...], named: dict[str, Any]) -> Any:
        return self._operate(["call", number, ""], arguments, named)

    def special(self, number: int, name: str, arguments: tuple[Any, ...], named: dict[str, Any] | None = None) -> Any:
        if name == "__call__":
            return self.call(number, arguments, named or {})
        return self._operate(["special", number, name], arguments, named or {})

    def _operate(self, start: list[Any], arguments: tuple[Any, ...], named: dict[str, Any]) -> Any:
        row = {name: self.encode(value) for name, value in named.items()}
        answer = self.ask(*start, [self.encode(element) for element in arguments], row)
        value = self._result(answer)
        for place, data in answer.get("m", []):
            if isinstance(arguments[place], MUTABLE):
                _replace(arguments[place], self.decode(data))
        return value

    def _result(self, answer: dict[str, Any]) -> Any:
        self._check(answer)
        try:
            return self.decode(answer.get("v"))
        except Exception as fault:
            raise self.no_message() from fault

    def _check(self, answer: dict[str, Any]) -> None:
        if answer.get("p"):
            sys.stdout.write(str(answer["p"]))
        if "e" in answer:
            raise self._exception(answer["e"]) from None

    def _exception(self, row: dict[str, Any]) -> BaseException:
        try:
            kind, arguments = self.decode(row["class"]), self.decode(row["args"])
        except Exception as fault:
            raise self.no_message() from fault
        if not (isinstance(kind, type) and issubclass(kind, BaseException) and isinstance(arguments, list)):
            return self.no_message()
        try:
            fault = kind.__new__(kind, *arguments) if "o" in row else kind(*arguments)
        except Exception:
            return RuntimeError(str(row.get("text", ""))[:_TEXT])
        object.__setattr__(fault, "args", tuple(arguments))
        object.__setattr__(fault, "_of_candidate", True)
        if "o" in row:
            object.__setattr__(fault, "_number", row["o"])
            self._proxies[row["o"]] = fault
        return fault

    def encode(self, value: Any) -> Any:
        try:
            return encode_value(value, self._other)
        except (ValueError, ProxyLimitError) as fault:
            raise self.refuse(str(fault)) from fault

    def decode(self, data: Any) -> Any:
        return decode_value(data, self._theirs)

    def _other(self, value: Any) -> Any:
        if isinstance(value, Proxy | CandidateClass):
            return {"o": value._number}
        name = BUILTIN_NAMES.get(id(value))
        if name is not None:
            return {"n": name}
        if isinstance(value, _CLOSED):
            raise ProxyLimitError(f"the tests hand a {type(value).__name__} to the candidate")
        if isinstance(value, BaseException):
            return {"n": type(value).__name__ if type(value).__name__ in vars(builtins) else "Exception"}
        if isinstance(value, _CALLABLES):
            special = ["__call__"]
        elif isinstance(value, _ITERATING_ONLY):
            special = ["__iter__", "__next__"]
        else:
            special = special_names(type(value))
        return {"back": self.number(value), "special": special}

    def _theirs(self, data: dict[str, Any]) -> Any:
        if "n" in data:
            value = find_builtin(data["n"])
            if isinstance(value, type) or not callable(value):
                return value
            raise ValueError("a function of Python is called where it is")
        if "module" in data:  # the one here: what the candidate did to its own does not count
            return _own_module(str(data["module"]))
        if "back" in data:
            return self.objects[data["back"]]
        if "k" in data:
            return self._class(data["k"])
        number = int(data["o"])
        if number not in self._proxies:
            kind = self._class(data["class"])
            proxy = kind.__new__(kind) if issubclass(kind, BaseException) else object.__new__(kind)
            object.__setattr__(proxy, "_number", number)
            self._proxies[number] = proxy
        proxy = self._proxies[number]
        if "plain" in data:
            object.__setattr__(proxy, "_plain", (self.decode(data["plain"]),))
        return proxy

    def _class(self, row: dict[str, Any]) -> type:
        number = int(row["id"])
        if number in self._classes:
            return self._classes[number]
        bases = [self._theirs(base) for base in row["bases"]]
        mine: list[Any] = [
            base for base in bases if isinstance(base, CandidateClass) or issubclass(base, BaseException)
        ]
        if not any(isinstance(base, CandidateClass) for base in mine):
            mine.insert(0, Proxy)
        space = _forwards(list(row["special"])) | {
            "_side": self, "_is_function": False, "__module__": "candidate",
        }  # fmt: skip
        name = str(row["name"])[:200]
        try:
            created = type.__new__(CandidateClass, name, tuple(mine), space)
        except TypeError:
            created = type.__new__(CandidateClass, name, (Proxy,), space)
        type.__setattr__(created, "_number", number)
        self._classes[number] = created
        return created

    def reply(self, message: list[Any]) -> dict[str, Any]:
        """What the candidate asks of an object that the tests gave it."""
        try:
            _, number, operation, arguments, named = message
            value = self.objects[number]
            decoded = [self.decode(element) for element in arguments]
            row = {str(name): self.decode(element) for name, element in named.items()}
            return {"v": self.encode(_on_ours(value, str(operation), decoded, row))}
        except PeerGoneError:
            raise
        except BaseException as fault:
            name = type(fault).__name__
            is_builtin = name in vars(builtins) and getattr(builtins, name) is type(fault)
            arguments = [
                element if isinstance(element, str | int | float | None) else str(element)[:_TEXT]
                for element in fault.args
            ]
            return {"e": {"n": name if is_builtin else "Exception", "args": arguments}}


def _named(name: str, value: Any) -> Any:
    """What the tests reach by a name as functions have them is a function to them."""
    if not name.lstrip("_")[:1].isupper():
        mark_as_function(value)
    return value


def _on_ours(value: Any, operation: str, arguments: list[Any], named: dict[str, Any]) -> Any:
    if operation in ("get", "set"):
        name = str(arguments[0])
        if name.startswith("_") or isinstance(value, (*_CALLABLES, *_ITERATING_ONLY)):
            raise AttributeError(name)
        return getattr(value, name) if operation == "get" else setattr(value, name, arguments[1])
    if operation not in SPECIAL:
        raise AttributeError(operation)
    if operation == "__call__":
        return value(*arguments, **named)
    if isinstance(value, _CALLABLES):
        raise AttributeError(operation)
    return getattr(type(value), operation)(value, *arguments)


def is_of_candidate(fault: BaseException) -> bool:
    """Whether the candidate raised it, and not the tests themselves."""
    return fault.__dict__.get("_of_candidate", False)


# Modules of Python's own that do more than define names when they are imported.
_BUSY_MODULES = frozenset("test tests idlelib turtle turtledemo ensurepip lib2to3 antigravity this __main__".split())


def _own_module(name: str) -> types.ModuleType:
    """One of Python's own. Raises ValueError for others, ImportError where it cannot be had."""
    parts = name.split(".")
    if parts[0] not in sys.stdlib_module_names or not _BUSY_MODULES.isdisjoint(parts):
        raise ValueError(name)
    return importlib.import_module(name)


def _is_here(data: Any) -> bool:
    """Whether it is no module, or one that the tests' process has too."""
    if isinstance(data, dict) and "module" in data:
        try:
            _own_module(str(data["module"]))
        except (ValueError, ImportError):
            return False
    return True


def _replace(mine: Any, theirs: Any) -> None:
    """Puts into an argument what the candidate made of its copy."""
    if type(mine) is type(theirs):
        mine.clear()
        mine.update(theirs) if isinstance(mine, dict | set) else mine.extend(theirs)
