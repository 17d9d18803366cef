"""What a fork runs, here without walls."""

from __future__ import annotations

from pathlib import Path

import pytest

from herd.sandbox import walls
from herd.sandbox.jobs import JOBS_BY_KIND, fault_in_words, file_rights, run_calls, write_files


@pytest.mark.parametrize(
    ("code", "inputs", "made"),
    [
        ("def f(a, b=1): return a + b", [[1], [1, 5]], {"values": [2, 6]}),
        ("def f(): return __name__", [[]], {"values": ["program"]}),
        ("def f(): return 1", [], {"values": []}),
        ("x = 1", [[]], {"fault": "there is no function f"}),
        ("f = 3", [[]], {"fault": "TypeError: 'int' object is not callable"}),
        ("raise SystemExit(3)", [[]], {"fault": "SystemExit: 3"}),
        ("def f(a): return 1 / a", [[1], [0]], {"fault": "ZeroDivisionError: division by zero"}),
        ("def f(): raise KeyError('x' * 999)", [[]], {"fault": f"KeyError: '{'x' * 289}"}),
        (
            "class Odd(Exception):\n    def __str__(self): raise ValueError\ndef f(): raise Odd",
            [[]],
            {"fault": "an exception that cannot be shown"},
        ),
        (
            "from __future__ import annotations\nfrom dataclasses import dataclass\n"
            "@dataclass\nclass P:\n    x: int = 1\ndef f(): return P().x",
            [[]],
            {"values": [1]},
        ),
    ],
)
def test_a_program_gives_values_or_the_reason(code: str, inputs: list, made: dict) -> None:
    assert run_calls(code, "f", inputs) == made


def test_files_lie_where_they_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_files({"a.txt": "x\r\ny", "b/c.txt": "é"})
    assert (tmp_path / "a.txt").read_bytes() == b"x\r\ny"
    assert (tmp_path / "b" / "c.txt").read_text(encoding="utf-8") == "é"


def test_what_runs_may_do_with_files() -> None:
    rights = dict(file_rights(["/usr/lib"], "/scratch/0", executes=False))
    assert rights["/usr/lib"] == walls.READ
    assert rights["/scratch/0"] & walls.EXECUTE == 0
    assert rights["/dev/null"] & walls.WRITE_FILE
    assert not rights["/dev/urandom"] & walls.WRITE_FILE
    assert dict(file_rights(["/usr/lib"], "/scratch/0", executes=True))["/usr/lib"] & walls.EXECUTE


def test_faults_in_words_and_kinds_of_jobs() -> None:
    assert fault_in_words(ValueError("x")) == "ValueError: x"
    assert set(JOBS_BY_KIND) == {"call", "program", "execute", "candidate", "tests"}
