"""`herd sft`, from rows to a model that chats."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from herd.cli import main
from herd.core.settings import read_yaml
from tests.commands.test_finetuning import own as own


def test_rows_are_shown_then_learnt_and_the_same_command_goes_on(own: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["sft", "smol", "rows.jsonl", "--length", "64", "--epochs", "2", "--early-stop", "--jobs", "0"]
    rows = {"data": str(own / "rows.jsonl"), "question": "prompt", "answer": "response"}
    command += ["--tasks", json.dumps({"short_answer": {**rows, "verifier": "includes", "max_tokens": 4}})]
    assert main(command) == 0
    out = capsys.readouterr().out
    assert out.index("»hello«") < out.index("[1/")
    assert "held-out loss" in out
    assert "chat:   herd chat runs/sft-smol" in out
    values, _ = read_yaml(own / "runs" / "sft-smol" / "recipe.yaml")
    assert values["sft"]["length"] == 64
    page = next((own / "runs" / "sft-smol" / "artifacts").glob("write_report-*/report.html")).read_text()
    for words in ("before", "after", "Held-out examples"):
        assert words in page
    assert main(command) == 0
    again = capsys.readouterr().out
    assert any(line.startswith("made ") and " sft-" in line for line in again.splitlines())


def test_a_dry_run_shows_and_makes_nothing(own: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["sft", "smol", "rows.jsonl", "--dry-run"]) == 0
    out = capsys.readouterr().out
    assert "»hello«" in out
    assert "recipe: sft" in out
    assert not (own / "runs").exists()
