"""Prompts without answers in the columns that others use, for a model of one's own to answer."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from herd.align.column_maps import input_turns
from herd.align.row_parts import (
    JsonRow,
    Turns,
    check_prompt,
    history_turns,
    instruction_text,
    message_turns,
    prompt_turns,
    row_conversation,
)
from herd.core.records import Conversation, Message
from herd.core.rowfiles import RowError


def row_prompt(row: JsonRow, number: str, columns: tuple[str, ...]) -> Conversation:
    """What a row asks, of the form `columns` of `PROMPT_FORMS`. Raises RowError as `asked_part` does."""
    return asked_part(row_conversation(row, number, PROMPT_FORMS[columns](row)))


def asked_part(conversation: Conversation) -> Conversation:
    """The conversation up to the user's last word, without what answers it.

    Raises RowError where the user says nothing, last says nothing, or turns are ragged.
    """
    asked = [place for place, message in enumerate(conversation.messages) if message.role == "user"]
    if not asked:
        raise RowError("no prompt", "no turn is the user's, so there is nothing to answer")
    return check_prompt(replace(conversation, messages=conversation.messages[: asked[-1] + 1]))


def _turns_of(value: Any) -> Turns:
    if not isinstance(value, str | list | tuple):
        raise RowError("broken", f"the prompt is a {type(value).__name__}, neither a text nor turns")
    return prompt_turns(value)


def _messages(row: JsonRow) -> Turns:
    return message_turns(row["messages"] if "messages" in row else row["conversations"])


def _question(row: JsonRow) -> Turns:
    return (*history_turns(row), *_turns_of(row["question"]))


def _instruction(row: JsonRow) -> Turns:
    return (*history_turns(row), Message("user", instruction_text(row)))


# A row is of the first form whose columns it has.
PROMPT_FORMS: Mapping[tuple[str, ...], Callable[[JsonRow], Turns]] = {
    ("prompt",): lambda row: _turns_of(row["prompt"]),
    ("messages",): _messages,
    ("conversations",): _messages,
    ("question",): _question,
    ("instruction",): _instruction,
    ("problem",): lambda row: _turns_of(row["problem"]),
    ("input",): lambda row: input_turns(row["input"]),
}
