"""The script that locks verdicts, on made-up rows: that it finds what differs, and says what it leaves out."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def run(data: Path, *options: str) -> tuple[int, list[dict]]:
    command = [sys.executable, "benchmarks/verdicts.py", "--data", str(data), *options]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False, env=None)
    return done.returncode, [json.loads(line) for line in done.stdout.splitlines()]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    solution = {"solution": "so 18\nA: 18", "is_correct": True}
    row = {
        "test_index": 0,
        "ground_truth": "A: 18",
        "6b_finetuning": solution,
        "175b_verification": {**solution, "solution": "A: 17"},
    }
    (tmp_path / "gsm8k").mkdir()
    (tmp_path / "gsm8k" / "model_solutions_sample.jsonl").write_text(json.dumps(row) + "\n", encoding="utf-8")
    return tmp_path


def test_a_verdict_that_differs_is_listed_and_the_script_fails(data: Path) -> None:
    code, lines = run(data, "--only", "gsm8k_labels", "math_gold", "numbers")
    assert code == 1
    assert lines[0]["rows"] == 2
    assert lines[0]["equal"] == 1
    assert lines[0]["differences"] == [[0, "175b_verification", "17", "18"]]
    assert "math" in lines[1]["left_out"]
    assert lines[2] == {"benchmark": "numbers", "left_out": "no interpreter with the peer was given"}
