"""What ruins a training is found before it, and rows are shown as a model reads them."""

from __future__ import annotations

import pytest

from herd.align.columns import ParsedRows
from herd.align.preflight import inspect_rows, preview_lines, render_row, report_lines
from herd.core.errors import DataError
from herd.core.records import Conversation, Message, ToolCall
from tests.align.test_columns import ADD, ASKED, SAID
from tests.tokens.test_chat import FORM, TOKENIZER
from tests.train.test_preferences import preference


def test_what_ruins_training_is_refused_and_the_rest_noted() -> None:
    spelled = Conversation((Message("user", "say <|eot_id|>"), SAID))
    silent = Conversation((ASKED, Message("assistant", "there", train=False)))
    found = inspect_rows(ParsedRows([spelled, spelled, silent]), FORM, TOKENIZER, 9)
    assert found.faults == {"with nothing to learn": 1}
    assert found.notes["said before"] == 1
    assert found.notes["spelling out control tokens"] == 2
    with pytest.raises(DataError, match="1 faults in 3 rows: 1 with nothing to learn"):
        found.refuse()
    inspect_rows(ParsedRows([spelled]), FORM, TOKENIZER, 99).refuse()


def test_rows_are_shown_with_what_is_learnt() -> None:
    plain = list(render_row(Conversation((ASKED, SAID)), FORM, TOKENIZER, colour=False))
    assert "»there«»<|eot_id|>«" in plain[0]
    coloured = list(render_row(preference(0), FORM, TOKENIZER, colour=True))
    assert coloured[0] == "-- best --"
    assert "\x1b[32mgood\x1b[0m" in coloured[1]
    given = ParsedRows([], [preference(0)])
    assert next(preview_lines(given, FORM, TOKENIZER, rows=1, colour=False)) == "-- best --"
    told = list(report_lines(given, inspect_rows(given, FORM, TOKENIZER, 99)))
    assert told[-1].startswith("0 conversations, 1 preferences; ")


def test_a_row_that_the_format_cannot_write_is_a_fault() -> None:
    both = Message("assistant", "", (ToolCall("add", {"a": 1}), ToolCall("add", {"a": 2})))
    rows = [Conversation((ASKED, both), definitions=({"function": ADD},)), Conversation((ASKED, SAID))]
    found = inspect_rows(ParsedRows(rows), FORM, TOKENIZER, 99)
    assert [name.split(":")[0] for name in found.faults] == [
        "that the chat format cannot write (a message calls 2 tools; the form 'json' has room for one"
    ]
    with pytest.raises(DataError, match="1 faults in 2 rows: 1 that the chat format cannot write"):
        found.refuse()
    told = list(preview_lines(ParsedRows(rows), FORM, TOKENIZER, rows=2, colour=False))
    assert told[0].startswith("cannot be written: a message calls 2 tools")
    assert "there" in told[2]


@pytest.mark.parametrize("colour", [True, False])
def test_rows_are_shown_without_what_steers_a_terminal(colour: bool) -> None:
    row = Conversation(
        (Message("user", "\x1b]0;owned\x07\x1b[2J\x9b1m\rred\r\nend"), Message("assistant", "yes\x1b[0m"))
    )
    text = "\n".join(render_row(row, FORM, TOKENIZER, colour=colour))
    for ours in ("\x1b[32m", "\x1b[90m", "\x1b[0m") if colour else ():
        assert ours in text
        text = text.replace(ours, "")
    assert r"\x1b]0;owned\x07\x1b[2J\x9b1m\x0dred" in text
    assert r"yes\x1b[0m" in text
    assert not {letter for letter in text if ord(letter) < 32 or 127 <= ord(letter) < 160} - {"\n"}
