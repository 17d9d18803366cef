"""`herd show`: an artifact, or rows as a model would read them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from herd.cli import main
from herd.run.runner import run_stages
from tests.core.stages_for_tests import join, write
from tests.serve.test_compare import chat_model


def test_an_artifact_tells_what_made_it_and_damage_is_found(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    made = run_stages(join((write(text="abc"),), times=2), tmp_path / "run", jobs=0)
    assert main(["show", str(made.path), "--verify"]) == 0
    said = capsys.readouterr().out
    for words in (
        f"Tokens {made.key}",
        "stage join version 1",
        "every file is as it was written",
        "times: 2",
        "text: 6 b",
    ):
        assert words in said
    assert main(["show", str(tmp_path / "run")]) == 0
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == ["Corpus", "Tokens"]
    (made.path / "text").write_text("abcabd")
    assert main(["show", str(made.path)]) == 0  # lengths only
    assert main(["show", str(made.path), "--verify"]) == 1
    assert "text is damaged" in capsys.readouterr().err


def rows(file: Path, *found: dict) -> str:
    file.write_text("".join(json.dumps(row) + "\n" for row in found))
    return str(file)


def test_rows_are_shown_as_a_model_reads_them_and_faults_are_failures(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = str(chat_model(tmp_path / "model"))
    asked = {"prompt": "how many legs has a dog", "response": "there"}
    file = rows(
        tmp_path / "rows.jsonl", asked, {"prompt": "hello", "response": "hello"}, {"prompt": "x", "response": ""}
    )
    assert main(["show", file, "--mask", model, "--rows", "1"]) == 0
    said = capsys.readouterr().out
    assert "»there«" in said
    assert "»hello«" not in said
    assert "2 conversations, 0 preferences; " in said
    assert "left out: 1 with empty answer, such as row 3" in said
    tests = rows(tmp_path / "tests.jsonl", asked)
    assert main(["show", file, "--mask", model, "--tests", tests]) == 1
    out, err = capsys.readouterr()
    assert "fault: 1 text holding a question of the tests" in out
    assert "1 fault in 2 rows" in err
