"""The parts of rows: prompts, answers and turns in the forms that are in use."""

from __future__ import annotations

import pytest

from herd.align.row_parts import (
    answer_turns,
    check_row,
    dialogue_turns,
    message_turns,
    prompt_turns,
    row_conversation,
    row_preference,
)
from herd.core.records import Message
from herd.core.rowfiles import RowError

ASKED, SAID = Message("user", "hello"), Message("assistant", "there")


def test_texts_turns_and_transcripts_are_the_same_turns() -> None:
    rows = [{"role": "user", "content": "hello"}, {"from": "gpt", "value": "there"}]
    assert message_turns(rows) == (ASKED, SAID)
    assert dialogue_turns("\n\nHuman: hello\n\nAssistant: there") == (ASKED, SAID)
    assert prompt_turns("hello") == prompt_turns("\n\nHuman: hello\n\nAssistant:") == (ASKED,)
    assert answer_turns("there") == answer_turns(rows[1]) == answer_turns(rows[1:]) == (SAID,)


def test_rows_bring_their_id_source_and_strength() -> None:
    row = {"id": 7, "source": "mine", "strength": "slightly better", "margin": 1}
    assert row_conversation(row, "n", (ASKED, SAID)).id == "7"
    assert row_conversation({}, "n", (ASKED, SAID)).id == "n"
    pair = row_preference(row, "n", (ASKED,), (SAID,), (Message("assistant", "no"),))
    assert (pair.strength, pair.margin, pair.prompt.source) == ("slightly better", 1.0, "mine")
    assert check_row(pair) is pair


def test_what_cannot_be_learnt_from_is_told() -> None:
    for messages, reason in (
        ((SAID,), "ragged turns"),
        ((ASKED,), "no answer"),
        ((ASKED, ASKED, SAID), "ragged turns"),
    ):
        with pytest.raises(RowError) as told:
            check_row(row_conversation({}, "n", messages))
        assert told.value.reason == reason
    with pytest.raises(RowError, match="the same, so neither is better"):
        check_row(row_preference({}, "n", (ASKED,), (SAID,), (SAID,)))
