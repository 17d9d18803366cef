"""As much of pytest as test files of exercises use, for processes in which nothing is installed.

Found are functions `test*`, methods of classes `Test*`, and fixtures; understood are `raises`, `approx`, `skip`,
`fail`, `importorskip`, the marks `parametrize`, `skip`, `skipif` and `xfail` (others are let be), `setup_*` and
`teardown_*`, and the fixtures `capsys`, `tmp_path` and `monkeypatch`. What else a test asks for is an error that
says so.

Source: pytest 8's documentation, "API Reference".
"""

from __future__ import annotations

import contextlib
import importlib
import inspect
import io
import itertools
import pathlib
import re
import sys
import types
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

_MISSING = object()


class SkipException(BaseException):
    """A test that is not to be run."""


class FailException(AssertionError):  # noqa: N818 - pytest's name
    """What `pytest.fail` raises."""


@dataclass
class _Mark:
    """A mark, and what it was given."""

    name: str
    args: tuple[Any, ...] = ()
    kwargs: dict[str, Any] = field(default_factory=dict)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if len(args) == 1 and not kwargs and (inspect.isfunction(args[0]) or inspect.isclass(args[0])):
            marked: Any = args[0]
            marked.pytestmark = [*getattr(marked, "pytestmark", []), self]
            return marked
        return _Mark(self.name, args, kwargs)


class _Marks:
    """`pytest.mark`: every name is a mark."""

    def __getattr__(self, name: str) -> _Mark:
        return _Mark(name)


@dataclass
class _Param:
    """What `pytest.param` gives."""

    values: tuple[Any, ...]
    marks: tuple[_Mark, ...]


def param(*values: Any, id: str | None = None, marks: Any = ()) -> _Param:  # noqa: A002 - pytest's name
    return _Param(values, tuple(marks) if isinstance(marks, list | tuple) else (marks,))


class _ExceptionInfo:
    """What `raises` caught."""

    value: Any = None
    type: Any = None

    @property
    def typename(self) -> str:
        return self.type.__name__

    def match(self, pattern: str) -> bool:
        assert re.search(pattern, str(self.value)), f"{pattern!r} is not in {str(self.value)!r}"
        return True


class _Raises:
    """The context that `raises` gives."""

    def __init__(self, expected: Any, match: str | None) -> None:
        self.expected, self.pattern, self.info = expected, match, _ExceptionInfo()

    def __enter__(self) -> _ExceptionInfo:
        return self.info

    def __exit__(self, kind: Any, value: Any, traceback: Any) -> bool:
        if kind is None:
            raise FailException(f"nothing raised {getattr(self.expected, '__name__', self.expected)}")
        if not issubclass(kind, self.expected):
            return False
        self.info.type, self.info.value = kind, value
        if self.pattern is not None:
            self.info.match(self.pattern)
        return True


def raises(expected: Any, *arguments: Any, match: str | None = None, **named: Any) -> Any:
    """A context that wants an exception, or the exception that a call gives."""
    if not arguments:
        return _Raises(expected, match)
    with _Raises(expected, match) as info:
        arguments[0](*arguments[1:], **named)
    return info


class approx:  # noqa: N801 - pytest's name
    """Equal to numbers near by, also in lists, tuples and mappings."""

    def __init__(self, expected: Any, rel: float | None = None, abs: float | None = None) -> None:  # noqa: A002
        self.expected, self.rel, self.abs = expected, rel, abs

    def __eq__(self, actual: object) -> bool:
        return self._near(self.expected, actual)

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"approx({self.expected!r})"

    def _near(self, expected: Any, actual: Any) -> bool:
        if isinstance(expected, Mapping):
            return (
                isinstance(actual, Mapping)
                and expected.keys() == actual.keys()
                and all(self._near(value, actual[key]) for key, value in expected.items())
            )
        if isinstance(expected, list | tuple):
            return (
                isinstance(actual, list | tuple)
                and len(actual) == len(expected)
                and all(map(self._near, expected, actual))
            )
        if isinstance(expected, bool) or not isinstance(expected, int | float | complex):
            return bool(actual == expected)
        if isinstance(actual, bool) or not isinstance(actual, int | float | complex):
            return False
        if expected == actual:
            return True
        relative = (1e-6 if self.rel is None and self.abs is None else self.rel or 0.0) * abs(expected)
        return abs(actual - expected) <= max(relative, 1e-12 if self.abs is None else self.abs)


def skip(reason: str = "", **_: Any) -> None:
    raise SkipException(reason)


def fail(reason: str = "", **_: Any) -> None:
    raise FailException(reason)


def importorskip(name: str, *_: Any, **__: Any) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError:
        raise SkipException(f"no {name}") from None


def fixture(function: Any = None, **options: Any) -> Any:
    """Marks a function whose value tests may ask for by its name."""
    if function is None:
        return lambda element: fixture(element, **options)
    function._fixture = options
    return function


@dataclass
class _Test:
    """A test with one set of parameters."""

    call: Callable[..., Any]
    arguments: dict[str, Any]
    marks: list[_Mark]
    fixtures: dict[str, Any]
    owner: Any = None


def as_module() -> types.ModuleType:
    """What `import pytest` gives."""
    module = types.ModuleType("pytest")
    offered = (raises, approx, skip, fail, importorskip, fixture, param)
    module.__dict__.update(
        {element.__name__: element for element in offered}, mark=_Marks(), SkipException=SkipException
    )
    return module


def collect(names: Mapping[str, Any]) -> Iterator[tuple[str, _Test]]:
    """The tests of a module, in its order, once for every set of parameters."""
    functions = {name: element for name, element in names.items() if inspect.isfunction(element)}
    fixtures = {
        element._fixture.get("name") or name: element
        for name, element in functions.items()
        if hasattr(element, "_fixture")
    }
    shared = _marks(names.get("pytestmark", []))
    for name, value in list(names.items()):
        if inspect.isfunction(value) and name.startswith("test") and not hasattr(value, "_fixture"):
            yield from _cases(name, value, shared + _marks(value), fixtures, names)
        elif inspect.isclass(value) and name.startswith("Test") and type(value) is type and not _is_unittest(value):
            own = {
                key: element
                for key, element in inspect.getmembers(value, inspect.isfunction)
                if hasattr(element, "_fixture")
            }
            for key, method in list(vars(value).items()):
                if key.startswith("test") and callable(method):
                    marks = shared + _marks(value) + _marks(method)
                    yield from _cases(f"{name}.{key}", method, marks, fixtures | own, value)


def _is_unittest(kind: type) -> bool:
    return any(element.__module__.partition(".")[0] == "unittest" for element in kind.__mro__)


def _marks(owner: Any) -> list[_Mark]:
    collected = owner if isinstance(owner, list | _Mark) else getattr(owner, "pytestmark", [])
    return collected if isinstance(collected, list) else [collected]


def _cases(
    name: str, call: Callable[..., Any], marks: list[_Mark], fixtures: dict[str, Any], owner: Any
) -> Iterator[tuple[str, _Test]]:
    sets = [_parameter_sets(mark) for mark in marks if mark.name == "parametrize"]
    remaining = [mark for mark in marks if mark.name != "parametrize"]
    for chosen in itertools.product(*sets):
        arguments = {key: value for values, _ in chosen for key, value in values.items()}
        more = [mark for _, extra in chosen for mark in extra]
        yield name, _Test(call, arguments, remaining + more, fixtures, owner)


def _parameter_sets(mark: _Mark) -> list[tuple[dict[str, Any], tuple[_Mark, ...]]]:
    keys, rows = mark.args[0], mark.args[1]
    keys = [key.strip() for key in keys.split(",")] if isinstance(keys, str) else list(keys)
    collected = []
    for row in rows:
        marks: tuple[_Mark, ...] = ()
        if isinstance(row, _Param):
            marks, row = row.marks, row.values if len(keys) > 1 else row.values[0]
        collected.append((dict(zip(keys, row if len(keys) > 1 else [row], strict=True)), marks))
    return collected


def run_test(test: _Test) -> str | None:
    """None for passed, "" for skipped, otherwise why it failed."""
    expected_to_fail = False
    for mark in test.marks:
        condition = mark.args[0] if mark.args and not isinstance(mark.args[0], str) else True
        if mark.name == "skip" or (mark.name == "skipif" and condition):
            return ""
        expected_to_fail |= mark.name == "xfail" and bool(condition)
    with contextlib.ExitStack() as stack:
        try:
            _call(test, stack)
        except SkipException:
            return ""
        except BaseException as fault:
            if expected_to_fail:
                return ""
            text = " ".join(str(fault).split())
            return f"{type(fault).__name__}: {text}"[:300] if text else type(fault).__name__
    return None


def _call(test: _Test, stack: contextlib.ExitStack) -> None:
    instance = test.owner() if inspect.isclass(test.owner) else None
    call = test.call if instance is None or isinstance(test.call, staticmethod) else test.call.__get__(instance)
    values_by_name: dict[str, Any] = {}
    for name, element in test.fixtures.items():
        if getattr(element, "_fixture", {}).get("autouse"):
            _fixture_value(name, test, instance, values_by_name, stack)
    start, end = ("setup_function", "teardown_function") if instance is None else ("setup_method", "teardown_method")
    _around(test.owner if instance is None else instance, start, test.call)
    stack.callback(_around, test.owner if instance is None else instance, end, test.call)
    required = [name for name in inspect.signature(call).parameters if name not in test.arguments]
    defaults = inspect.signature(call).parameters
    values = {
        name: _fixture_value(name, test, instance, values_by_name, stack)
        for name in required
        if defaults[name].default is inspect.Parameter.empty
    }
    call(**{name: value for name, value in (test.arguments | values).items() if name in defaults})
    stack.close()


def _around(owner: Any, name: str, test: Any) -> None:
    call = owner.get(name) if isinstance(owner, Mapping) else getattr(owner, name, None)
    if call is not None:
        call(*[test][: len(inspect.signature(call).parameters)])


def _fixture_value(
    name: str, test: _Test, instance: Any, values_by_name: dict[str, Any], stack: contextlib.ExitStack
) -> Any:
    if name in test.arguments:
        return test.arguments[name]
    if name in values_by_name:
        return values_by_name[name]
    if name in test.fixtures:
        function = test.fixtures[name]
        call = function.__get__(instance) if "." in function.__qualname__ and instance is not None else function
        required = inspect.signature(call).parameters
        value = call(
            **{element: _fixture_value(element, test, instance, values_by_name, stack) for element in required}
        )
        if inspect.isgenerator(value):
            parts = value
            value = next(parts)
            stack.callback(next, parts, None)
    elif name in _FIXTURES:
        value = stack.enter_context(_FIXTURES[name]())
    else:
        raise LookupError(f"there is no fixture {name!r} here")
    values_by_name[name] = value
    return value


@dataclass
class _Captured:
    """What was printed."""

    out: str
    err: str

    def __iter__(self) -> Iterator[str]:
        return iter((self.out, self.err))


class _Capsys:
    """The fixture `capsys`."""

    def __init__(self) -> None:
        self.streams = (io.StringIO(), io.StringIO())

    def readouterr(self) -> _Captured:
        texts = [stream.getvalue() for stream in self.streams]
        for stream in self.streams:
            stream.seek(0)
            stream.truncate()
        return _Captured(*texts)


@contextlib.contextmanager
def _capsys() -> Iterator[_Capsys]:
    captured = _Capsys()
    with contextlib.redirect_stdout(captured.streams[0]), contextlib.redirect_stderr(captured.streams[1]):
        yield captured


@contextlib.contextmanager
def _tmp_path() -> Iterator[pathlib.Path]:
    import tempfile  # it brings libraries that no other run needs

    yield pathlib.Path(tempfile.mkdtemp())


class _MonkeyPatch:
    """The fixture `monkeypatch`: changes that are undone."""

    def __init__(self) -> None:
        self.undone: list[Callable[[], Any]] = []

    def setattr(self, target: Any, name: Any, value: Any = _MISSING, raising: bool = True) -> None:
        if value is _MISSING:
            path, _, attribute = name.rpartition(".") if isinstance(target, str) is False else target.rpartition(".")
            target, name, value = sys.modules.get(path) or importlib.import_module(path), attribute, name
        before = getattr(target, name, _MISSING)
        if before is _MISSING and raising:
            raise AttributeError(name)
        setattr(target, name, value)
        self.undone.append(lambda: delattr(target, name) if before is _MISSING else setattr(target, name, before))

    def setitem(self, mapping: Any, key: Any, value: Any) -> None:
        before = mapping.get(key, _MISSING)
        mapping[key] = value
        self.undone.append(lambda: mapping.pop(key) if before is _MISSING else mapping.__setitem__(key, before))


@contextlib.contextmanager
def _monkeypatch() -> Iterator[_MonkeyPatch]:
    patch = _MonkeyPatch()
    try:
        yield patch
    finally:
        for undo in reversed(patch.undone):
            undo()


_FIXTURES: dict[str, Callable[[], contextlib.AbstractContextManager[Any]]] = {
    "capsys": _capsys,
    "tmp_path": _tmp_path,
    "monkeypatch": _monkeypatch,
}
