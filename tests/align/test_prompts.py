"""Rows that only ask, in every form, and rows whose answers do not count."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from herd.align.columns import parse_row, read_rows
from herd.align.prompts import PROMPT_FORMS
from herd.core.errors import DataError
from herd.core.records import Conversation, Message
from herd.core.rowfiles import RowError
from tests.align.test_columns import ASKED, MORE, SAID, turns

SYSTEM = Message("system", "Be brief.")


@pytest.mark.parametrize(
    "row",
    [
        {"prompt": "hello"},
        {"prompt": turns(ASKED)},
        {"messages": turns(ASKED)},
        {"conversations": [{"from": "human", "value": "hello"}]},
        {"question": "hello"},
        {"instruction": "hello"},
        {"instruction": "hello", "input": ""},
        {"problem": "hello"},
        {"input": "hello"},
        {"prompt": "\n\nHuman: hello\n\nAssistant:"},
        # Whatever answers them is left out, also where it is none that could be learnt.
        {"prompt": "hello", "completion": "there"},
        {"prompt": "hello", "completion": ""},
        {"prompt": turns(ASKED), "completion": turns(SAID)},
        {"messages": turns(ASKED, SAID)},
        {"question": "hello", "answer": "there"},
        {"instruction": "hello", "output": "there"},
        {"prompt": "hello", "chosen": "good", "rejected": "bad"},
        {"prompt": "hello", "chosen": "good", "rejected": "good"},
        {"chosen": turns(ASKED, SAID), "rejected": turns(ASKED, Message("assistant", "no"))},
    ],
)
def test_what_asks_is_a_prompt_in_any_columns_and_answers_do_not_count(row: dict) -> None:
    read = parse_row(row, "n", "prompts")
    assert isinstance(read, Conversation)
    assert (read.messages, read.id) == ((ASKED,), "n")


def test_every_form_of_prompts_is_read_alone() -> None:
    for columns in PROMPT_FORMS:
        (name,) = columns
        value = turns(ASKED) if name in ("messages", "conversations") else "hello"
        assert parse_row({name: value}, "n", "prompts") == Conversation((ASKED,), id="n")


def test_turns_before_the_question_stay() -> None:
    for row in ({"messages": turns(*MORE)}, {"prompt": turns(*MORE)}, {"messages": turns(*MORE, SAID)}):
        read = parse_row(row, "n", "prompts")
        assert isinstance(read, Conversation)
        assert read.messages == MORE
    read = parse_row({"prompt": "hello", "system": "Be brief.", "source": "talk"}, "n", "prompts")
    assert isinstance(read, Conversation)
    assert (read.messages, read.source) == ((SYSTEM, ASKED), "talk")
    read = parse_row({"question": "and?", "history": [["hello", "there"]]}, "n", "prompts")
    assert isinstance(read, Conversation)
    assert read.messages == MORE


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ({"prompt": ""}, "empty prompt"),
        ({"prompt": 3}, "broken"),
        ({"messages": turns(SYSTEM)}, "no prompt"),
        ({"messages": turns(SAID)}, "no prompt"),
        ({"messages": turns(ASKED, ASKED)}, "ragged turns"),
        ({"prompt": "hello", "weight": 0}, "weight 0"),
        ({"text": "hello"}, "unknown columns"),
    ],
)
def test_what_asks_nothing_is_told_by_its_reason(row: dict, reason: str) -> None:
    with pytest.raises(RowError) as told:
        parse_row(row, "n", "prompts")
    assert told.value.reason == reason


def test_files_of_prompts_are_read_and_what_is_none_is_counted(tmp_path: Path) -> None:
    file = tmp_path / "prompts.jsonl"
    file.write_text(
        "".join(json.dumps(row) + "\n" for row in ({"prompt": "hello"}, {"prompt": " "}, {"question": "so?"}))
    )
    read = read_rows(file, "prompts")
    assert [row.messages[-1].content for row in read.conversations] == ["hello", "so?"]
    assert read.rejected == {"empty prompt": 1}
    file.write_text(json.dumps({"promt": "hello"}) + "\n")
    with pytest.raises(DataError, match="there is no 'prompt' \\(did you mean it by 'promt'"):
        read_rows(file, "prompts")
