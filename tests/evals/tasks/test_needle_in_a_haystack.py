"""The needle tests on a user's own texts, asked and scored."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from herd.core.errors import SettingsError
from herd.evals.harness import TaskScore, evaluate
from herd.evals.results import TaskResult
from herd.evals.tasks import tasks
from herd.evals.tasks.needle_in_a_haystack import grid_depths, grid_lengths
from herd.report.sections.needles import task_grids
from tests.evals.models import Scripted
from tests.tokens.test_chat import TOKENIZER

NEEDLE = re.compile(r"magic numbers for (\S+) is: (\d+)\.")


@pytest.fixture(autouse=True)
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    monkeypatch.setenv("HERD_CACHE", str(tmp_path / "cache"))
    (tmp_path / "book.txt").write_text(" ".join(f"Line {n} tells of day {n}." for n in range(60)))
    (tmp_path / "words.txt").write_text("\n".join(f"w{n}" for n in range(120)))
    return {"data": str(tmp_path / "book.txt"), "words": str(tmp_path / "words.txt")}


def scored(name: str, say: Any, **settings: Any) -> tuple[TaskScore, Scripted]:
    engine = Scripted(TOKENIZER, say)
    score = evaluate(engine, TOKENIZER, tasks.make(tasks.configure(name, **settings))(), chat=False)
    assert isinstance(score, TaskScore)
    return score, engine


def oracle(asked: str) -> str:
    question = asked.rpartition("\n\n")[2]
    return ", ".join(value for key, value in NEEDLE.findall(asked) if f"{key}?" in question or f"{key} and" in question)


def early_reader(asked: str) -> str:
    """Sees the first third of a text only."""
    text, _, question = asked.rpartition("\n\n")
    return oracle(f"{text[: len(text) // 3]}\n\n{question}")


GRID = {"min_length": 900, "max_length": 1300, "num_lengths": 2, "num_depths": 3}


def test_an_oracle_finds_every_needle_and_a_reader_of_the_start_the_first(data: dict[str, str]) -> None:
    for name, extra in (("niah", {}), ("multi_needle", {"num_depths": 2})):
        score, engine = scored(name, oracle, **GRID | data | extra)
        assert score.interval.value == 1.0
        assert engine.asked[0].max_tokens == (256 if name == "multi_needle" else 200)
    score, _ = scored("niah", early_reader, **GRID | data)
    assert score.by_group == {
        f"{length:06d} tokens, depth {depth:3d} %": [float(depth == 0)]
        for length in (900, 1300)
        for depth in (0, 50, 100)
    }
    result = score.result()
    assert isinstance(result, TaskResult)
    (grid,) = task_grids("m", {"niah": result})
    assert [row["length"] for row in grid["rows"]] == ["900", "1,300"]
    assert [[cell["text"] for cell in row["cells"]] for row in grid["rows"]] == [["100%", "0%", "0%"]] * 2


def test_half_of_two_needles_is_half_right(data: dict[str, str]) -> None:
    score, _ = scored("multi_needle", lambda asked: oracle(asked).split(",")[0], **GRID | data)
    assert score.interval.value == 0.5


def test_a_needle_of_ones_own(data: dict[str, str]) -> None:
    own = {"needle": "The key lies under a stone.", "question": "Where lies the key?", "answer": "under a stone"}
    score, _ = scored("niah", lambda asked: "Under a stone!", **GRID | {"data": data["data"]} | own)
    assert score.interval.value == 1.0
    with pytest.raises(SettingsError, match="give all three or none"):
        scored("niah", oracle, **GRID | data | {"needle": "Only this."})


def test_the_grids_of_the_papers() -> None:
    assert grid_lengths(2_000, 131_072, 10)[:2] == (2_000, 16_341)
    assert grid_lengths(2_000, 131_072, 10)[-1] == 131_072
    assert len(grid_lengths(1_000, 16_000, 35)) == len(set(grid_lengths(1_000, 16_000, 35))) == 35
    assert grid_depths(5) == (0.0, 0.25, 0.5, 0.75, 1.0)
    assert len(set(grid_depths(35))) == 35
    for wrong in ((5, 3, 2), (3, 3, 2), (3, 5, 1)):
        with pytest.raises(SettingsError, match="are none"):
            grid_lengths(*wrong)
