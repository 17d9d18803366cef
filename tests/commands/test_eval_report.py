"""`herd eval report`."""

from __future__ import annotations

from pathlib import Path

import pytest

from herd.cli import main
from tests.report.test_answers import store


def test_the_page_is_written_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    store(tmp_path / "out")
    assert main(["eval", "report", str(tmp_path / "out")]) == 0
    assert capsys.readouterr().out.strip() == str(tmp_path / "out" / "index.html")
    assert (tmp_path / "out" / "index.html").exists()
    assert main(["eval", "report", str(tmp_path)]) == 1
