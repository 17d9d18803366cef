"""What ruins a training is found before it, and rows are shown as a model reads them."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from types import SimpleNamespace

import pytest

from herd.align.columns import ParsedRows
from herd.align.preflight import PreflightReport, check_trainable, inspect_rows, preview_lines, render_row, report_lines
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
    with pytest.raises(DataError, match="1 fault in 3 rows: 1 with nothing to learn"):
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
    assert told[-1].startswith("0 conversations, 1 preference; ")


def test_what_ends_an_answer_is_marked_only_where_it_is_learnt() -> None:
    shown = "".join(render_row(preference(0), FORM, TOKENIZER, colour=False, include_eos=False))
    assert "»good«<|eot_id|>" in shown
    assert "»<|eot_id|>«" not in shown
    assert "»<|eot_id|>«" in "".join(render_row(preference(0), FORM, TOKENIZER, colour=False))
    given = ParsedRows([], [preference(0)])
    whole, words = (inspect_rows(given, FORM, TOKENIZER, 99, include_eos=include) for include in (True, False))
    assert whole.learnt - words.learnt == len(preference(0).ranked_answers)
    assert not words.faults


def test_a_padding_that_ends_answers_is_said_in_words_and_not_counted() -> None:
    ending = SimpleNamespace(pad_id=1, stop_token_ids={1}, control_tokens=(), opening=(), bos_id=0)
    noted = inspect_rows(ParsedRows([]), FORM, ending, 99)  # type: ignore[arg-type]
    assert list(report_lines(ParsedRows([]), noted))[-1].startswith("note: the model pads with the token that ends an")


def test_a_row_that_the_format_cannot_write_is_a_fault() -> None:
    both = Message("assistant", "", (ToolCall("add", {"a": 1}), ToolCall("add", {"a": 2})))
    rows = [Conversation((ASKED, both), definitions=({"function": ADD},)), Conversation((ASKED, SAID))]
    found = inspect_rows(ParsedRows(rows), FORM, TOKENIZER, 99)
    assert [name.split(":")[0] for name in found.faults] == [
        "that the chat format cannot write (a message calls 2 tools; the form 'json' has room for one"
    ]
    with pytest.raises(DataError, match="1 fault in 2 rows: 1 that the chat format cannot write"):
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


def test_rows_longer_than_the_model_reads_are_noted_at_the_token() -> None:
    row = Conversation((ASKED, SAID))
    length = len(FORM.encode(row).ids)
    assert inspect_rows(ParsedRows([row]), FORM, TOKENIZER, length).notes == {}
    found = inspect_rows(ParsedRows([row, row]), FORM, TOKENIZER, length - 1)
    assert found.notes == {f"longer than {length - 1:,} tokens, which training drops": 2, "said before": 1}
    assert (found.rows, found.tokens, found.learnt) == (2, 2 * length, 2 * sum(FORM.encode(row).loss_mask))
    noted = {f"longer than {length - 1:,} tokens, which training drops": 1}
    assert check_trainable(ParsedRows([row]), FORM, TOKENIZER, length - 1) == noted


def test_every_answer_of_a_preference_is_examined_and_pairs_may_repeat_a_prompt() -> None:
    edited, plain = preference(0, edited=True), preference(0)
    found = inspect_rows(ParsedRows([], [edited, plain, plain]), FORM, TOKENIZER, 99)
    assert found.faults == {}
    assert found.notes == {"said before": 1}
    # Three answers with their prompt, and two, and two.
    prompt = len(FORM.encode_prompt(plain.prompt))
    assert found.rows == 3
    assert found.tokens > 7 * prompt
    silent = replace(plain, chosen=(Message("assistant", "good", train=False),))
    assert inspect_rows(ParsedRows([], [silent]), FORM, TOKENIZER, 99).faults == {"with nothing to learn": 1}


def test_what_is_refused_is_told_by_how_often_it_occurs() -> None:
    PreflightReport(rows=3).refuse()
    found = PreflightReport(
        rows=5, faults=Counter({"opened twice": 1, "without an ending": 2}), notes=Counter({"said before": 4})
    )
    with pytest.raises(DataError, match="3 faults in 5 rows: 2 without an ending, 1 opened twice; mend or drop"):
        found.refuse()


def test_what_was_left_out_while_reading_is_told_with_an_example() -> None:
    row = Conversation((ASKED, SAID))
    given = ParsedRows(
        [row], rejected=Counter({"empty answer": 1200}), examples={"empty answer": (7, "nothing is said")}
    )
    told = list(report_lines(given, inspect_rows(given, FORM, TOKENIZER, 1)))
    assert told[0].startswith("1 conversation, 0 preferences; ")
    assert told[1] == "left out: 1,200 with empty answer, such as row 7: nothing is said"
    assert told[2] == "note: 1 text longer than 1 tokens, which training drops"
    assert list(report_lines(ParsedRows([]), PreflightReport())) == [
        "0 conversations, 0 preferences; 0 tokens, 0% of them learnt"
    ]


def test_as_many_rows_are_shown_as_were_asked_for() -> None:
    given = ParsedRows([Conversation((ASKED, SAID))] * 3, [preference(0)])
    first = "\n".join(preview_lines(given, FORM, TOKENIZER, rows=2, colour=False))
    assert first.count("»there«") == 2
    assert "-- best --" not in first
    everything = list(preview_lines(given, FORM, TOKENIZER, rows=99, colour=False))
    assert [line for line in everything if line.startswith("--")] == ["-- best --", "-- next --"]
    assert list(preview_lines(given, FORM, TOKENIZER, rows=0, colour=False)) == []
