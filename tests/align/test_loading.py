"""Rows of a user's own become what stages read, and what a grader needs is handed on."""

from __future__ import annotations

import json
from datetime import date
from pathlib import Path

import pytest

from herd.align.columns import parse_row
from herd.align.loading import load_dialogues, load_named_rows, load_preferences
from herd.align.rejection_sampling import answerable_prompts
from herd.core.artifacts import Dialogues
from herd.core.errors import SettingsError
from herd.core.records import Conversation, Preference
from herd.core.stage import Work
from herd.core.storage import read_conversations, read_preferences
from herd.run.executors import LocalExecutor
from tests.tokens.test_chat import FORM

TESTS = {"tests": ["assert f(1) == 2"], "entry": "f"}


def work(folder: Path) -> Work:
    (folder / "out").mkdir(parents=True)
    return Work(folder / "out", folder, LocalExecutor())


def written(file: Path, **row: object) -> str:
    file.write_text(json.dumps({**row, "metadata": TESTS}) + "\n")
    return str(file)


def test_metadata_survives_bringing_in_and_asking(tmp_path: Path) -> None:
    file = written(tmp_path / "a.jsonl", question="Write f.", answer="def f(x): return x + 1")
    made = load_dialogues.body(work(tmp_path / "a"), files=(file,), prompt_suffix=" In Python.", source="code")
    (brought,) = read_conversations(made.path)
    assert (brought.metadata, brought.messages[0].content) == (TESTS, "Write f. In Python.")
    (asked,), _ = answerable_prompts(Dialogues(made.path), FORM, 512, ())
    assert asked.prompt.metadata == TESTS


def test_metadata_survives_beside_preferences(tmp_path: Path) -> None:
    file = written(tmp_path / "p.jsonl", prompt="Write f.", chosen="def f(x): return x + 1", rejected="no")
    (brought,) = read_preferences(load_preferences.body(work(tmp_path / "p"), files=(file,)).path)
    assert brought.prompt.metadata == TESTS


def test_metadata_is_plain_data_whatever_the_file_held() -> None:
    row = {"question": "?", "answer": "!"}
    held = [parse_row({**row, "metadata": value}) for value in ({"day": date(2026, 1, 2)}, "easy", None)]
    assert all(isinstance(one, Conversation | Preference) for one in held)
    assert [one.metadata for one in held if isinstance(one, Conversation)] == [
        {"day": "2026-01-02"},
        {"metadata": "easy"},
        {},
    ]


def test_rows_beyond_max_samples_are_warned_of_and_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    asked = tmp_path / "asked.jsonl"
    asked.write_text("".join(json.dumps({"question": f"{n}?", "answer": "!"}) + "\n" for n in range(3)))
    ranked = tmp_path / "ranked.jsonl"
    ranked.write_text("".join(json.dumps({"prompt": f"{n}?", "chosen": "!", "rejected": "?"}) + "\n" for n in range(3)))
    some, every = work(tmp_path / "some"), work(tmp_path / "every")
    load_dialogues.body(some, files=(str(asked),), max_samples=2)
    assert some.headline == "2 of 3 dialogues"
    assert "asked.jsonl: max_samples keeps the first 2 of 3 rows" in capsys.readouterr().out
    pairs = work(tmp_path / "pairs")
    load_preferences.body(pairs, files=(str(ranked),), max_samples=1)
    assert pairs.headline == "1 of 3 preferences"
    assert "ranked.jsonl: max_samples keeps the first 1 of 3 rows" in capsys.readouterr().out
    load_dialogues.body(every, files=(str(asked),), max_samples=3)
    assert every.headline == "3 dialogues"
    assert "max_samples" not in capsys.readouterr().out


def test_rows_are_called_as_their_files_are_named(tmp_path: Path) -> None:
    """A name counts in the place of what rows say, or only where they say nothing."""
    for name, source in (("a", "theirs"), ("b", "")):
        pair = {"prompt": name, "chosen": "yes", "rejected": "no", "source": source}
        (tmp_path / f"{name}.jsonl").write_text(json.dumps(pair) + "\n")
    places, names = [str(tmp_path / "a.jsonl"), str(tmp_path / "b.jsonl")], ["x", "y"]
    for row_sources, expected in ((False, ["x", "y"]), (True, ["theirs", "y"])):
        read = load_named_rows(places, names, row_sources=row_sources)
        assert [pair.prompt.source for pair in read.preferences] == expected
        options = {"files": tuple(places), "sources": tuple(names), "row_sources": row_sources}
        made = load_preferences.body(work(tmp_path / f"run-{row_sources}"), **options)
        assert [pair.prompt.source for pair in read_preferences(made.path)] == expected
    with pytest.raises(SettingsError, match="sources names 1 for 2 files; name one for each, or none"):
        load_named_rows(places, ["x"])
