"""Which names of the program its tests see beside their own.

Tests rely on functions and modules of Python's. A program that defines a name of one of them would decide what the
tests compare with, as `abs = lambda x: 0`, so that such names are Python's own to the tests.
"""

from __future__ import annotations

import ast
import builtins
import importlib
import re
import sys
import types
from collections.abc import Mapping
from typing import Any

_EXAMPLE_LINE = re.compile(r"^[ \t]*(?:>>>|\.\.\.) ?(.*)$", re.MULTILINE)


def is_builtin(name: str) -> bool:
    """Whether Python itself gives this name a meaning in every module."""
    return hasattr(builtins, name)


def visible_names(program: Mapping[str, Any], tests: str, *, style: str, entry_point: str = "") -> dict[str, Any]:
    """Of the program's names those that are in sight of its tests.

    A builtin's name is the program's only where it is what is tested: it is `entry_point`, or, of all that the tests
    call, the one name that the program defines. The name of a module of Python's is the module's where the tests use
    an attribute that the module has.
    """
    tree = _parsed(tests, style)
    called = {node.func.id for node in ast.walk(tree) if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)}
    called &= program.keys()
    tested = {entry_point} if entry_point in program else called if len(called) == 1 else set()
    visible = {name: value for name, value in program.items() if not is_builtin(name) or name in tested}
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            name = node.value.id
            if name in visible and name != entry_point and name in sys.stdlib_module_names:
                visible[name] = _module_with(name, node.attr, visible[name])
    return visible


def _parsed(tests: str, style: str) -> ast.Module:
    source = "\n".join(_EXAMPLE_LINE.findall(tests)) if style == "doctest" else tests
    try:
        return ast.parse(source)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return ast.Module([], [])


def _module_with(name: str, attribute: str, program_value: Any) -> Any:
    if isinstance(program_value, types.ModuleType):
        return program_value  # it is the tests' own
    try:
        module = importlib.import_module(name)
    except ImportError:
        return program_value
    return module if hasattr(module, attribute) else program_value
