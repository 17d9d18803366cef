"""`herd eval contamination`."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest

from herd.cli import main
from herd.evals.answers import AnswerRecord, AnswerStore, RunSettings
from tests.evals.test_coverage import random_items


def test_answers_are_looked_for_in_a_corpus(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    items = random_items(random.Random(0), 20)
    answers = AnswerStore(tmp_path / "out").open_task(RunSettings("sums", {}, {"name": "m"}))
    answers.append([AnswerRecord("sums", f"{n}", prompt=text, score=float(n < 8)) for n, text in enumerate(items)])
    corpus = tmp_path / "corpus.jsonl"
    corpus.write_text("".join(json.dumps({"body": f"well {text} so"}) + "\n" for text in items[:5]))
    command = ["eval", "contamination", str(tmp_path / "out"), "--corpus", str(corpus)]
    assert main(command) == 1
    assert "name it with --column" in capsys.readouterr().err
    assert main([*command, "--column", "body"]) == 0
    out = capsys.readouterr().out
    assert out.startswith("sums: 20 items looked for in 5 documents")
    assert "25.0% of items covered to 80% or more: 0.400 of all, 0.200 of the others" in out
    assert main([*command, "--column", "body", "--json"]) == 0
    (row,) = json.loads(capsys.readouterr().out)
    assert sum(share >= 0.8 for share in row["shares"].values()) == 5
    assert (tmp_path / "out" / "sums" / "contamination.json").exists()
