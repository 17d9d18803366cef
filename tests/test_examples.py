"""Every example runs, stays short, and says something."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = sorted((Path(__file__).parent.parent / "examples").glob("*.py"))


def run_example(file: Path, folder: Path) -> str:
    """What it prints."""
    assert len(file.read_text(encoding="utf-8").splitlines()) <= 60
    done = subprocess.run([sys.executable, str(file)], cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip()
    return done.stdout


@pytest.mark.parametrize("file", EXAMPLES[1:], ids=lambda file: file.name)
def test_an_example_runs(file: Path, tmp_path: Path) -> None:
    run_example(file, tmp_path)


def test_own_pages_are_among_the_tokens(tmp_path: Path) -> None:
    printed = run_example(EXAMPLES[0], tmp_path)
    documents = ast.literal_eval(printed.partition("kept: ")[2])
    assert documents["web"] > 0
    assert documents["wiki"] > 0


def test_there_are_six() -> None:
    assert EXAMPLES[0].name == "01_own_data.py"
    assert len(EXAMPLES) >= 6
