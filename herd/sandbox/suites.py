"""Test programs of five kinds, run against a candidate that is in another process.

check: HumanEval's `check(candidate)`. asserts: statements one after another, as MBPP's. unittest, pytest: test cases
and test functions. doctest: examples as `>>> f(1)` with what is printed.
"""

from __future__ import annotations

import ast
import importlib.machinery
import sys
import types
import unittest
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from herd.sandbox import collector
from herd.sandbox.proxies import TestsSide, is_of_candidate, mark_as_function
from herd.sandbox.scope import is_builtin, visible_names
from herd.sandbox.wire import Connection, PeerGoneError

# Never the candidate, even where they are not installed.
_KNOWN_PACKAGES = set("numpy pandas scipy torch sympy requests yaml sklearn matplotlib hypothesis nose".split())
_REASONS = 3


@dataclass
class SuiteTally:
    """passed, failed: tests. reasons: of the first that failed. broken: the tests themselves cannot be run, and why."""

    passed: int = 0
    failed: int = 0
    reasons: list[str] = field(default_factory=list)
    broken: str = ""

    def fail(self, reason: str) -> None:
        self.failed += 1
        if len(self.reasons) < _REASONS:
            self.reasons.append(reason[:300])

    def row(self, limits: list[str]) -> dict[str, Any]:
        return {
            "passed": self.passed,
            "failed": self.failed,
            "reason": "; ".join(self.reasons),
            "broken": self.broken,
            "limits": limits,
        }


class _Module(types.ModuleType):
    """The candidate's names as a module."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") and name != "__version__":
            raise AttributeError(name)
        try:
            return self.__dict__["__side__"].read_global(name)
        except KeyError:
            raise AttributeError(f"the candidate has no name {name!r}") from None

    def __setattr__(self, name: str, value: Any) -> None:
        if name.startswith("__") or "__side__" not in self.__dict__:
            super().__setattr__(name, value)
        else:
            self.__dict__["__side__"].write_global(name, value)

    def __delattr__(self, name: str) -> None:
        self.__dict__["__side__"].delete_global(name)


class _Finder:
    """Finds the candidate under the name by which the tests import it.

    Of no class of `importlib.abc`, which would load a dozen libraries into the fork server.
    """

    def __init__(self, module: types.ModuleType, name: str) -> None:
        self.module, self.name = module, name

    def find_spec(self, fullname: str, path: Any = None, target: Any = None) -> Any:
        top = fullname.partition(".")[0]
        is_installed = top in _KNOWN_PACKAGES or top in sys.stdlib_module_names or top.startswith("_")
        if fullname.partition(".")[0] != self.name.partition(".")[0] if self.name else is_installed:
            return None
        loader: Any = self
        return importlib.machinery.ModuleSpec(fullname, loader, is_package=True)

    def create_module(self, spec: Any) -> types.ModuleType:
        return self.module

    def exec_module(self, module: types.ModuleType) -> None:
        """It has run."""


def run_suite(connection: Connection | None, request: dict[str, Any], names: dict[str, Any]) -> dict[str, Any]:
    """Runs tests and counts. connection: to the candidate; None where it is to run here, in `request["code"]`.

    request: tests, style, entry_point (of the function that `check` is given; the module that others import), code.
    names: an empty module's. Gives `SuiteTally.row`.
    """
    tally, side = SuiteTally(), None if connection is None else TestsSide(connection)
    try:
        code = compile(request["tests"], "<tests>", "exec") if request["style"] != "doctest" else None
    except (SyntaxError, ValueError) as fault:
        tally.broken = f"the tests are no Python: {fault}"
        return tally.row([])
    try:
        module = _candidate_here(request["code"]) if side is None else _candidate_there(side)
        initial = {name: value for name, value in module.__dict__.items() if not name.startswith("__")}
    except BaseException as fault:
        tally.fail(f"the program itself: {_in_words(fault)}")
        return tally.row([])
    _make_importable(module, request)
    style, entry_point = request["style"], request["entry_point"]
    names.update(visible_names(initial, request["tests"], style=style, entry_point=entry_point))
    if style in ("check", "asserts"):
        mark_as_function(names.get(entry_point))
    try:
        _STYLES[style](request, names, code, tally)
    except ModuleNotFoundError as fault:
        if is_of_candidate(fault):
            tally.fail(_in_words(fault))
        else:
            tally.broken = f"the tests want the module {fault.name}, which is not here"
    except BaseException as fault:
        tally.fail(_in_words(fault))
    if side is not None and not tally.failed and (side.ended or side.refused):  # the tests may have caught it
        tally.fail(f"the program's process: {side.ended}" if side.ended else f"{side.refused}: that cannot be had")
    if tally.passed + tally.failed == 0 and not tally.broken:
        tally.broken = "there is no test in the tests"
    return tally.row(side.limits if side is not None else [])


def _candidate_here(code: str) -> types.ModuleType:
    module = types.ModuleType("candidate")
    sys.modules["candidate"] = module
    exec(compile(code, "<program>", "exec"), module.__dict__)  # noqa: S102 - what was asked for
    return module


def _candidate_there(side: TestsSide) -> types.ModuleType:
    module = _Module("candidate")
    for name, value in side.public_names().items():
        module.__dict__[name] = value
    module.__dict__["__all__"] = [name for name in module.__dict__ if not name.startswith("_") and not is_builtin(name)]
    module.__dict__["__side__"] = side
    return module


def _make_importable(module: types.ModuleType, request: dict[str, Any]) -> None:
    entry = request["entry_point"]
    # check and asserts are given a function's name: the module may have any.
    named = entry if entry and request["style"] in ("unittest", "pytest") else ""
    sys.modules["pytest"] = collector.as_module()
    if named:
        sys.modules.pop(named, None)
        sys.meta_path.insert(0, _Finder(module, named))
    else:
        sys.meta_path.append(_Finder(module, ""))


def _in_words(fault: BaseException) -> str:
    try:
        text = " ".join(str(fault).split())
        return f"{type(fault).__name__}: {text}" if text else type(fault).__name__
    except BaseException:
        return type(fault).__name__


def _run_module(code: Any, names: dict[str, Any]) -> dict[str, Any]:
    """The names that the tests define themselves, and not the candidate for them."""
    initial = dict(names)
    exec(code, names)  # noqa: S102
    return {name: value for name, value in names.items() if name not in initial or initial[name] is not value}


def _run_check(request: dict[str, Any], names: dict[str, Any], code: Any, tally: SuiteTally) -> None:
    candidate = names.get(request["entry_point"])
    check = _run_module(code, names).get("check")
    if not callable(check):
        tally.broken = "the tests define no function check"
    elif candidate is None:
        tally.fail(f"there is no function {request['entry_point']}")
    else:
        check(candidate)
        tally.passed += 1


def _run_asserts(request: dict[str, Any], names: dict[str, Any], code: Any, tally: SuiteTally) -> None:
    """Every assertion is a test, and every statement that makes some; another that raises is a test that failed."""
    body = ast.parse(request["tests"]).body
    asserting = {node.name for node in body if isinstance(node, ast.FunctionDef) and _asserts(node, set())}
    for node in body:
        source = ast.get_source_segment(request["tests"], node) or "a statement"
        try:
            exec(compile(ast.Module([node], []), "<tests>", "exec"), names)  # noqa: S102
        except PeerGoneError:
            raise
        except BaseException as fault:
            tally.fail(f"{' '.join(source.split())[:150]}: {_in_words(fault)}")
        else:
            tally.passed += not isinstance(node, _DEFINITIONS) and _asserts(node, asserting)


_DEFINITIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Import, ast.ImportFrom)


def _asserts(node: ast.stmt, asserting: set[str]) -> bool:
    """Whether a statement has an assertion in it, or calls one of the functions `asserting`."""
    return any(
        isinstance(part, ast.Assert)
        or (isinstance(part, ast.Call) and isinstance(part.func, ast.Name) and part.func.id in asserting)
        for part in ast.walk(node)
    )


def _run_cases(cases: unittest.TestSuite, tally: SuiteTally) -> None:
    result = unittest.TestResult()
    cases.run(result)
    bad = {getattr(case, "test_case", case): message for case, message in (*result.failures, *result.errors)}
    bad |= dict.fromkeys(result.unexpectedSuccesses, "it was to fail")
    for case, message in bad.items():
        tally.fail(f"{getattr(case, '_testMethodName', case)}: {message.strip().splitlines()[-1]}")
    tally.passed += max(0, result.testsRun - len(bad) - len(result.skipped) - len(result.expectedFailures))


def _run_unittest(request: dict[str, Any], names: dict[str, Any], code: Any, tally: SuiteTally) -> None:
    _run_cases(_test_cases(_run_module(code, names)), tally)


def _test_cases(names: dict[str, Any]) -> unittest.TestSuite:
    load = unittest.defaultTestLoader.loadTestsFromTestCase
    kinds = [kind for kind in names.values() if isinstance(kind, type) and issubclass(kind, unittest.TestCase)]
    return unittest.TestSuite(load(kind) for kind in kinds if kind is not unittest.TestCase)


def _run_pytest(request: dict[str, Any], names: dict[str, Any], code: Any, tally: SuiteTally) -> None:
    own = _run_module(code, names)
    for name, test in collector.collect(own):
        outcome = collector.run_test(test)
        if outcome is None:
            tally.passed += 1
        elif outcome:
            tally.fail(f"{name}: {outcome}")
    _run_cases(_test_cases(own), tally)


def _run_doctest(request: dict[str, Any], names: dict[str, Any], code: Any, tally: SuiteTally) -> None:
    import doctest  # it brings a debugger along, which other styles need not load

    try:
        test = doctest.DocTestParser().get_doctest(request["tests"], names, "tests", None, 0)
    except ValueError as fault:
        tally.broken = f"the tests are no examples: {fault}"
        return
    message: list[str] = []
    results = doctest.DocTestRunner(verbose=False).run(test, out=message.append, clear_globs=False)
    tally.passed += results.attempted - results.failed
    for text in message[: results.failed]:
        tally.fail(" ".join(text.split()))
    tally.failed = results.failed


_STYLES: dict[str, Callable[[dict[str, Any], dict[str, Any], Any, SuiteTally], None]] = {
    "check": _run_check,
    "asserts": _run_asserts,
    "unittest": _run_unittest,
    "pytest": _run_pytest,
    "doctest": _run_doctest,
}
