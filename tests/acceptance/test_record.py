"""What slow checks measured is kept with the code that it counts for."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from herd.acceptance import record
from herd.acceptance.record import Record
from herd.core.errors import HerdError
from tests.acceptance.test_check import outcome


def test_what_was_measured_is_kept_with_its_commit_and_only_of_committed_code(tmp_path: Path) -> None:
    for folder in ("herd", "tests", "benchmarks/results"):
        (tmp_path / folder).mkdir(parents=True)
    file = tmp_path / "tests" / "test_x.py"
    file.write_text("x = 1\n")

    def git(*words: str) -> None:
        subprocess.run(["git", "-c", "user.name=n", "-c", "user.email=e", *words], cwd=tmp_path, check=True)

    git("init", "-q")
    with pytest.raises(HerdError, match=r"test_x\.py first|tests/ first"):
        record.origin(tmp_path)
    git("add", ".")
    git("commit", "-qm", "x")
    entry = outcome("long", "passed", slow=True) | {"test": "tests/test_x.py::long", "seconds": 3.0, "seeds": [0, 1]}
    record.add(tmp_path, entry, record.origin(tmp_path))
    state, figure = Record.read(tmp_path).of("tests/test_x.py::long")
    assert (state, figure[:20]) == ("holds", "0.4 [recorded today ")
    (tmp_path / record.RECORD_FILE).write_text("{}\n")
    with pytest.raises(HerdError, match="line 1: no record"):
        Record.read(tmp_path)
