"""`herd sandbox`: runs a program that nobody has to trust, or holds it against tests."""

from __future__ import annotations

import argparse
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, get_args

from herd.commands.arguments import amount, bounded_number
from herd.commands.command import Command
from herd.core.errors import DataError, SettingsError

if TYPE_CHECKING:
    from herd.sandbox.limits import Limits, TestStyle
    from herd.sandbox.tiers import Sandbox

_TIERS = "own, bubblewrap, gvisor, container or remote"


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", type=Path, nargs="?", help="a program; its ending says in which language")
    parser.add_argument("--language", help="python, javascript, typescript, c, cpp, rust, go or java")
    parser.add_argument("--languages", action="store_true", help="list the languages that this machine has, and end")
    parser.add_argument("--stdin", type=Path, metavar="FILE", help="what the program reads on its standard input")
    parser.add_argument("--argument", action="append", default=[], help="for the program; may be given several times")
    parser.add_argument("--tests", type=Path, metavar="FILE", help="tests for a program in Python, which it never sees")
    parser.add_argument(
        "--style", help="of the tests: check, asserts, unittest, pytest or doctest (default: as they look)"
    )
    parser.add_argument(
        "--entry-point", default="", help="the function that `check` tests, or the module that the tests import"
    )
    parser.add_argument("--cpu-seconds", type=bounded_number(1), default=4, help="(default: %(default)s)")
    parser.add_argument("--wall-seconds", type=bounded_number(1), default=60, help="(default: %(default)s)")
    parser.add_argument("--memory", type=amount, default=512 << 20, metavar="BYTES", help="(default: 512 MiB)")
    parser.add_argument("--tier", default="own", help=f"where it runs: {_TIERS} (default: %(default)s)")
    parser.add_argument("--address", default="", help="of a service with SandboxFusion's protocol, for --tier remote")
    parser.add_argument("--image", default="python:3.11-slim", help="for --tier gvisor and container")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument(
        "--allow-forgeable",
        action="store_true",
        help="run tests in one process with the program, which can then forge its verdict",
    )
    parser.add_argument(
        "--allow-unsafe-execution",
        action="store_true",
        help="run it also where this system has no walls, with your rights: for code that you trust",
    )


def run(options: argparse.Namespace) -> int:
    from herd.sandbox.limits import Limits
    from herd.sandbox.tiers import open_sandbox

    if options.languages:
        return _list_languages(options.json)
    if options.file is None:
        raise SettingsError("name a file with a program, or --languages")
    code = _read(options.file)
    limits = Limits(cpu_seconds=options.cpu_seconds, wall_seconds=options.wall_seconds, memory_bytes=options.memory)
    sandbox = open_sandbox(
        options.tier,
        address=options.address,
        image=options.image,
        allow_unsafe_execution=options.allow_unsafe_execution,
    )
    return (_run_tests if options.tests else _run_program)(sandbox, code, limits, options)


def _read(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as fault:
        why = fault.strerror if isinstance(fault, OSError) else "it is no UTF-8 text"
        raise DataError(f"{file} cannot be read: {why}") from None


def _list_languages(as_json: bool) -> int:
    import platform

    from herd.core.terminal import json_line
    from herd.sandbox.languages import toolchains

    versions = {name: tool.version if tool else None for name, tool in toolchains().items()}
    rows: dict[str, str | None] = {"python": platform.python_version(), **versions}
    if as_json:
        print(json_line(rows))
    else:
        for name, version in rows.items():
            print(f"{name:12} {version or 'not on this machine'}")
    return 0


def _run_program(sandbox: Sandbox, code: str, limits: Limits, options: argparse.Namespace) -> int:
    from herd.core.terminal import json_line
    from herd.sandbox.languages import language_of
    from herd.sandbox.limits import Program

    language = options.language or language_of(options.file)
    stdin = _read(options.stdin) if options.stdin else ""
    result = sandbox.run_program(Program(code, language, stdin, arguments=tuple(options.argument)), limits)
    if options.json:
        print(json_line(asdict(result)))
    else:
        print(result.stdout, end="")
        print(result.stderr, end="", file=sys.stderr)
        end = result.reason or f"exit code {result.exit_code}, {result.cpu_seconds:.2f} s of processor time"
        print(f"herd sandbox: {'void: ' if result.void else ''}{end}", file=sys.stderr)
    return 0 if result.exit_code == 0 else 1


def _run_tests(sandbox: Sandbox, code: str, limits: Limits, options: argparse.Namespace) -> int:
    from herd.core.terminal import json_line
    from herd.sandbox.languages import language_of
    from herd.sandbox.limits import TestStyle

    if (options.language or language_of(options.file)) != "python":
        raise SettingsError("--tests tests programs in python; run others with --stdin and compare what they print")
    tests = _read(options.tests)
    style = options.style or style_of(tests)
    if style not in get_args(TestStyle):
        raise SettingsError(f"no style of tests {style!r}; valid: {', '.join(get_args(TestStyle))}")
    entry_point = options.entry_point or ("" if style == "check" else options.file.stem)
    verdict = sandbox.run_tests(
        code, tests, style=style, entry_point=entry_point, limits=limits, allow_forgeable=options.allow_forgeable
    )
    if options.json:
        print(json_line(asdict(verdict)))
    else:
        word = {True: "pass", False: "fail", None: "void"}[verdict.passed]
        counts = f"{verdict.passed_tests} passed, {verdict.failed_tests} failed"
        print(f"{word}: {counts}{': ' if verdict.reason else ''}{verdict.reason}")
    return 0 if verdict.passed else 1


def style_of(tests: str) -> TestStyle:
    """What tests look like."""
    marks: tuple[tuple[str, TestStyle], ...] = (
        ("def check(", "check"),
        ("unittest.TestCase", "unittest"),
        ("def test", "pytest"),
        (">>> ", "doctest"),
    )
    for mark, style in marks:
        if mark in tests:
            return style
    return "asserts"


COMMAND = Command(
    "sandbox", "run a program of a model behind walls, or hold it against tests that it never sees", add_options, run
)
