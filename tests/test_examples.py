"""Every example runs, stays short, and says something."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from herd.corpus.results import CurationResult

EXAMPLES = sorted((Path(__file__).parent.parent / "examples").glob("*.py"))


@pytest.mark.parametrize("file", EXAMPLES, ids=lambda file: file.name)
def test_an_example_runs(file: Path, tmp_path: Path) -> None:
    assert len(file.read_text(encoding="utf-8").splitlines()) <= 60
    done = subprocess.run([sys.executable, str(file)], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip()


def test_there_are_six() -> None:
    assert len(EXAMPLES) >= 6


def test_own_pages_are_among_the_tokens(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import importlib.util

    spec = importlib.util.spec_from_file_location("own_data", EXAMPLES[0])
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.chdir(tmp_path)
    corpus = module.run(tmp_path)
    assert corpus.result(CurationResult).sources["web"].documents > 0
    assert corpus.result(CurationResult).sources["wiki"].documents > 0
