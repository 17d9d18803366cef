"""What a corpus holds of tasks: planted items are found, their gain is told, and the check prints its precision."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest

from herd.core.errors import DataError
from herd.evals.answers import AnswerRecord
from herd.evals.corpus_overlap import items_of, measure_overlap, overlap_lines, write_overlap
from tests.evals.test_coverage import random_items


def test_planted_items_and_what_they_add_are_found(tmp_path: Path) -> None:
    rng = random.Random(5)
    texts, planted = random_items(rng, 200), set(rng.sample(range(200), 60))
    shots = "Question: what is two and two and what is three? Answer: four and also three. "
    records = [
        AnswerRecord("sums", f"{n}", prompt=shots + text, target="yes", score=float(n in planted or rng.random() < 0.3))
        for n, text in enumerate(texts)
    ]
    records.append(AnswerRecord("sums", "short", prompt="too short", score=1.0))
    corpus = random_items(rng, 100, 100)
    for place in planted:
        corpus[rng.randrange(100)] += f"\n{texts[place].upper()}\n"
    found, other = measure_overlap({"sums": records, "other": records[:3]}, iter(corpus))
    flagged = {int(name) for name, share in found.shares.items() if share is not None and share >= 0.8}
    assert flagged == planted
    assert found.shares["short"] is None
    assert found.documents == other.documents == 100
    best = found.to_row()["largest_significant_gain"]
    assert best["gain"] > 0.1
    assert (found.check.precision, found.check.recall) == (1.0, 1.0)
    lines = "\n".join(overlap_lines(found))
    assert "1 too short to tell" in lines
    assert "precision 1.000, recall 1.000" in lines
    assert "the largest gain that is no chance" in lines
    write_overlap(tmp_path, found)
    assert json.loads((tmp_path / "contamination.json").read_text())["check"]["precision"] == 1.0


def test_nothing_found_is_said_so() -> None:
    records = {"t": [AnswerRecord("t", "1", prompt="a b c d e f g h i j", score=1.0)]}
    with pytest.raises(DataError, match="holds no word"):
        measure_overlap(records, ["", "--"])
    (found,) = measure_overlap(records, ["something else"])
    lines = "\n".join(overlap_lines(found))
    assert "0 of them are covered at all" in lines
    assert "precision 1.000" in lines or "none to tell by" in lines


def test_items_are_what_was_asked_last_with_the_right_answer() -> None:
    first = AnswerRecord("t", "1", prompt="shots and question", question="question", target=" yes")
    assert items_of([first, AnswerRecord("t", "1", 1)]) == {"1": "question\n yes"}
