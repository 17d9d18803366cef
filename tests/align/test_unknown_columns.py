"""What is said of columns of no known form names the forms for the job, whole, and what is nearly there."""

from __future__ import annotations

from pathlib import Path

import pytest

from herd.align.columns import RowKind, parse_row, read_rows
from herd.align.unknown_columns import unknown_columns
from herd.core.errors import DataError
from herd.core.rowfiles import RowError


@pytest.mark.parametrize(
    ("kind", "row", "words"),
    [
        (
            "dialogues",
            ("body", "site"),
            "columns body, site make no dialogue; it wants messages or prompt + completion",
        ),
        ("preferences", ("body", "site"), "make no pair; it wants chosen + rejected or prompt + chosen + rejected, or"),
        ("preferences", ("chosen", "worse"), "chosen + rejected lacks 'rejected' (did you mean it by 'worse'?)"),
        ("preferences", ("prompt", "chosen"), "prompt + chosen + rejected lacks 'rejected'; it"),
        ("dialogues", ("mesages",), "there is no 'messages' (did you mean it by 'mesages'?)"),
        ("dialogues", ("prompt", "reply"), "prompt + completion lacks 'completion' (did you mean it by 'reply'?)"),
        ("dialogues", ("question",), "question + answer lacks 'answer'; it wants"),
        ("prompts", ("text",), "make no prompt; it wants prompt or messages or"),
        ("rows", ("text",), "make no dialogue and no pair; it wants messages or"),
    ],
)
def test_the_forms_for_the_job_come_first_and_the_nearest_is_named(
    kind: RowKind, row: tuple[str, ...], words: str
) -> None:
    with pytest.raises(RowError) as told:
        parse_row(dict.fromkeys(row, "hello"), "n", kind)
    assert words in str(told.value)
    assert len(str(told.value)) < 260


def test_the_whole_sentence_reaches_the_reader_and_a_rows_many_columns_do_not(tmp_path: Path) -> None:
    file = tmp_path / "rows.jsonl"
    file.write_text('{"foo": "1", "bar": "2"}\n')
    with pytest.raises(DataError, match="rarer forms$"):
        read_rows(file, "dialogues")
    names = [f"column_{number}_{'x' * 90}" for number in range(500)]
    told = unknown_columns(names, "pair", [("chosen", "rejected")])
    assert told.endswith("it wants chosen + rejected")
    assert len(told) < 450
