"""`herd adversarial`: two tasks of results, compared."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from herd.cli import main


def results(file: Path, tasks: dict[str, list[float | None]]) -> str:
    file.write_text(json.dumps({"model": "m", "tasks": {name: {"right": right} for name, right in tasks.items()}}))
    return str(file)


def test_the_ratio_of_two_tasks_is_printed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    both = results(tmp_path / "a.json", {"squadv2": [1, 1, 1, 0], "adv_squad": [1, 0, None]})
    assert main(["adversarial", both, "--plain", "squadv2", "--adversarial", "adv_squad"]) == 0
    assert capsys.readouterr().out.startswith("squadv2 0.750, adv_squad 0.500: ratio 0.667 [")
    other = results(tmp_path / "b.json", {"paws": [1, 1]})
    assert main(["adversarial", both, other, "--plain", "squadv2", "--adversarial", "paws", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["ratio"] == pytest.approx(4 / 3)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("no json", "is not what `herd eval --json` printed"),
        ('{"tasks": {}}', "there are no scores of 'squadv2'; there are those of nothing"),
        ('{"tasks": {"squadv2": {"right": [null]}}}', "every answer of 'squadv2' is void"),
    ],
)
def test_results_that_are_none_are_said(
    text: str, words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "a.json").write_text(text)
    assert main(["adversarial", str(tmp_path / "a.json"), "--plain", "squadv2", "--adversarial", "x"]) != 0
    assert words in capsys.readouterr().err
