"""`herd eval compare`: two folders of answers, in words, as JSON and as a page."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from herd.cli import main
from tests.evals.models import Scripted
from tests.evals.test_answer_runs import say, stored, sums  # noqa: F401 - a fixture
from tests.tokens.test_chat import TOKENIZER


@pytest.fixture
def folders(sums: str, tmp_path: Path) -> list[str]:  # noqa: F811
    right = Scripted(TOKENIZER, lambda asked: str(int(asked.split("Question: ")[-1].split(" +")[0]) + 1))
    return [
        str(stored(tmp_path / "a", "short_answer", Scripted(TOKENIZER, say), "small", data=sums)),
        str(stored(tmp_path / "b", "short_answer", right, "large", data=sums, max_tokens=9)),
    ]


def test_words_json_and_a_page(folders: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page = tmp_path / "gap.html"
    assert main(["eval", "compare", *folders, "--page", str(page)]) == 0
    out = capsys.readouterr().out
    assert out.startswith("short_answer: b scores 100.0, a 50.0: +50.00 points, of which +50.00 by models.")
    assert f"page: {page}" in out
    assert "Why b and a differ" in page.read_text()
    assert main(["eval", "compare", *folders, "--json"]) == 0
    (row,) = json.loads(capsys.readouterr().out)
    assert row["gap"] == 50.0
    assert main(["eval", "compare", *folders, "--also", folders[0]]) == 0
    assert "is not used" in capsys.readouterr().out


def test_what_cannot_be_compared_says_why(
    folders: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["eval", "compare", folders[0], str(tmp_path)]) == 1
    assert "holds no answers" in capsys.readouterr().err
    assert main(["eval", "compare", folders[0], folders[0]]) == 0
    assert "a (second) scores 50.0, a (first) 50.0: no difference" in capsys.readouterr().out


def test_a_name_of_two_words_has_its_own_help(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["eval", "compare", "--help"])
    assert "herd eval compare" in capsys.readouterr().out
