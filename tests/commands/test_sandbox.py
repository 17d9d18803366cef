"""`herd sandbox`: a program or its tests, for a person."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from herd.commands.sandbox import style_of
from herd.sandbox.server import SandboxServer
from tests.sandbox.conftest import server as server
from tests.test_cli import run

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="walls of Linux")


def test_a_program_is_run_and_how_it_ended_is_told(
    server: SandboxServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file, stdin = tmp_path / "echo.py", tmp_path / "in.txt"
    file.write_text("import sys\nprint(input(), sys.argv[1:])\nsys.exit(3)")
    stdin.write_text("hello\n")
    code, out, err = run(capsys, "sandbox", str(file), "--stdin", str(stdin), "--argument", "a")
    assert (code, out) == (1, "hello ['a']\n")
    assert "exit code 3" in err
    code, out, _ = run(capsys, "sandbox", str(file), "--stdin", str(stdin), "--json")
    row = json.loads(out)
    assert (code, row["exit_code"], row["stdout"], row["void"]) == (1, 3, "hello []\n", False)


def test_a_program_is_held_against_tests(
    server: SandboxServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file, tests = tmp_path / "sums.py", tmp_path / "tests.py"
    file.write_text("def add(a, b): return a + b")
    tests.write_text("from sums import add\ndef test_a(): assert add(1, 2) == 3\ndef test_b(): assert add(1, 2) == 4\n")
    code, out, _ = run(capsys, "sandbox", str(file), "--tests", str(tests))
    assert (code, out) == (1, "fail: 1 passed, 1 failed: test_b: AssertionError\n")
    tests.write_text("def check(candidate):\n    assert candidate(1, 2) == 3\n")
    code, out, _ = run(capsys, "sandbox", str(file), "--tests", str(tests), "--entry-point", "add", "--json")
    assert code == 0
    assert json.loads(out) == {"passed": True, "reason": "", "passed_tests": 1, "failed_tests": 0}
    tests.write_text("def check(")
    code, out, _ = run(capsys, "sandbox", str(file), "--tests", str(tests))
    assert code == 1
    assert out.startswith("void: ")


def test_languages_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(capsys, "sandbox", "--languages", "--json")
    assert code == 0
    assert set(json.loads(out)) >= {"python", "go", "java", "typescript"}
    assert run(capsys, "sandbox", "--languages")[1].startswith("python ")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((), "name a file"),
        (("nowhere.py",), "cannot be read"),
        (("{file}", "--tier", "moon"), "no tier 'moon'"),
        (("{file}", "--tests", "{file}", "--style", "odd"), "no style of tests 'odd'"),
        (("{file}", "--tests", "{file}", "--language", "rust"), "tests programs in python"),
        (("{file}", "--language", "rusty"), "did you mean 'rust'"),
    ],
)
def test_mistakes_are_one_sentence(
    arguments: tuple[str, ...], words: str, server: SandboxServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "x.py"
    file.write_text("x = 1")
    code, out, err = run(capsys, "sandbox", *(one.format(file=file) for one in arguments))
    assert code != 0
    assert words in err
    assert err.count("\n") == 1
    assert out == ""


@pytest.mark.parametrize(
    ("tests", "style"),
    [
        ("def check(candidate): pass", "check"),
        ("import unittest\nclass T(unittest.TestCase): pass", "unittest"),
        ("def test_a(): pass", "pytest"),
        (">>> f(1)\n2", "doctest"),
        ("assert f(1) == 2", "asserts"),
    ],
)
def test_the_style_is_seen(tests: str, style: str) -> None:
    assert style_of(tests) == style
