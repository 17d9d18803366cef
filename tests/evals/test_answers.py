"""Answers on disk: what is written is read again, half lines are dropped, and other settings are refused."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from herd.core.errors import ArtifactError, BusyError, DataError, SettingsError
from herd.evals.answers import AnswerRecord, AnswerStore, RunSettings, text_sha256

SETTINGS = RunSettings(
    "gsm8k", {"gsm8k": {"num_fewshot": 8}}, {"name": "small", "weights": "ab12"}, {"chat": False},
    {"stop": ["Q:"], "max_tokens": 64},
)  # fmt: skip
RECORD = AnswerRecord("gsm8k", "q-1", response="It is 4.", score=1.0, extracted="4", token_lengths=(2, 6))


def records_strategy():
    return st.builds(
        AnswerRecord,
        task=st.just("t"),
        id=st.text(max_size=5),
        sample=st.integers(0, 3),
        response=st.text(max_size=20),
        tail=st.text(max_size=4),
        token_lengths=st.lists(st.integers(0, 9), max_size=4).map(tuple),
        log_likelihoods=st.lists(st.floats(-1e6, 0), max_size=4).map(tuple),
        score=st.none() | st.floats(0, 1),
        unparsed=st.booleans(),
        parts=st.dictionaries(st.text(max_size=3), st.floats(0, 1), max_size=2),
    )


@given(records_strategy())
def test_a_record_is_read_as_it_was_written(record: AnswerRecord) -> None:
    assert AnswerRecord.from_row(json.loads(json.dumps(record.to_row()))) == record


@pytest.mark.parametrize("row", [{}, {"id": 3, "task": "t"}, {"task": "t", "id": "a", "score": 2}, {"task": "t"}])
def test_what_is_no_answer_is_refused(row: dict) -> None:
    with pytest.raises(DataError, match="no stored answer"):
        AnswerRecord.from_row(row)


def test_answers_are_added_and_the_last_of_a_key_counts(tmp_path: Path) -> None:
    answers = AnswerStore(tmp_path / "out").open_task(SETTINGS)
    void = replace(RECORD, id="q-2", score=None, reason="the server was away")
    answers.append([RECORD, void])
    answers.append([replace(RECORD, id="q-2")])
    found = AnswerStore(tmp_path / "out").tasks()["gsm8k"]
    assert found.settings() == SETTINGS
    assert list(found.records()) == [("q-1", 0), ("q-2", 0)]
    assert found.records()["q-2", 0].score == 1.0
    assert len(found.file.read_text().splitlines()) == 3


def test_half_a_line_is_dropped_and_a_broken_one_passed_over(tmp_path: Path) -> None:
    answers = AnswerStore(tmp_path).open_task(SETTINGS)
    answers.append([RECORD, replace(RECORD, id="q-2")])
    whole = answers.file.read_bytes()
    for cut in (1, 40, len(whole) // 2 - 1):
        answers.file.write_bytes(whole + whole[:cut])
        again = AnswerStore(tmp_path).open_task(SETTINGS)
        assert again.file.read_bytes() == whole
    answers.file.write_bytes(b"\0\0{\n" + whole)
    assert len(answers.records()) == 2
    answers.file.write_bytes(b"x" * 200_000)
    answers.drop_half_line()
    assert answers.file.read_bytes() == b""
    answers.file.write_bytes(b"a\n" + b"x" * 200_000)
    answers.drop_half_line()
    assert answers.file.read_bytes() == b"a\n"


@pytest.mark.parametrize(
    ("other", "words"),
    [
        (replace(SETTINGS, model={"name": "small", "weights": "cd34"}), "another `model.weights`"),
        (
            replace(SETTINGS, generation={"stop": [], "max_tokens": 64}),
            r"`generation.stop` \(\[\"Q:\"\], and now \[\]\)",
        ),
        (replace(SETTINGS, settings={"gsm8k": {"num_fewshot": 0}}), "another `settings.gsm8k.num_fewshot`"),
        (replace(SETTINGS, output="likelihood"), "another `output`"),
    ],
)
def test_another_model_or_other_settings_are_refused(other: RunSettings, words: str, tmp_path: Path) -> None:
    AnswerStore(tmp_path).open_task(SETTINGS)
    with pytest.raises(SettingsError, match=words):
        AnswerStore(tmp_path).open_task(other)
    AnswerStore(tmp_path).open_task(SETTINGS)


def test_one_process_writes_at_a_time(tmp_path: Path) -> None:
    first, second = AnswerStore(tmp_path), AnswerStore(tmp_path)
    with first.sole_writer(), pytest.raises(BusyError, match="another herd eval"), second.sole_writer():
        pass
    with AnswerStore(tmp_path).sole_writer():
        pass


def test_names_of_tasks_are_no_paths(tmp_path: Path) -> None:
    answers = AnswerStore(tmp_path / "out").open_task(replace(SETTINGS, task="../../etc"))
    assert answers.folder.parent == tmp_path / "out"
    assert list(AnswerStore(tmp_path / "out").tasks()) == ["../../etc"]


def test_a_folder_without_answers_says_how_to_make_some(tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / "nothing"):
        with pytest.raises(ArtifactError, match="herd eval MODEL TASKS --out"):
            AnswerStore(folder).tasks()
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "settings.json").write_text("[]")
    with pytest.raises(ArtifactError, match="no settings of an evaluation"):
        AnswerStore(tmp_path).tasks()


def test_prompts_have_a_hash_whatever_is_in_them() -> None:
    assert text_sha256("\ud800") != text_sha256("")


def test_weights_tell_a_model_whatever_its_folder_is_called(tmp_path: Path) -> None:
    store = AnswerStore(tmp_path)
    store.open_task(SETTINGS).append([RECORD])
    moved = replace(SETTINGS, model={"name": "moved", "weights": "ab12"})
    assert store.open_task(moved).records() == {RECORD.key: RECORD}
    with pytest.raises(SettingsError, match="model"):
        store.open_task(replace(SETTINGS, model={"name": "small", "weights": "cd34"}))
