"""Records as rows: the ecosystem's columns, and what is no record told."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from herd.core.errors import DataError
from herd.core.records import STRENGTHS, Conversation, Document, Message, Preference, ToolCall

# What UTF-8 can hold: a lone surrogate is taken out while pages are extracted.
TEXT = st.text(st.characters(exclude_categories=["Cs"]))


DOCUMENTS = st.builds(
    Document, id=TEXT, text=TEXT, source=TEXT, url=TEXT, added=TEXT, language=TEXT, notes=st.dictionaries(TEXT, TEXT)
)


CALLS = st.builds(ToolCall, TEXT, st.dictionaries(TEXT, TEXT))


MESSAGES = st.builds(
    Message,
    st.sampled_from(["system", "user", "assistant", "tool"]),
    TEXT,
    st.tuples() | st.tuples(CALLS),
    st.booleans(),
)


CONVERSATIONS = st.builds(
    Conversation,
    st.lists(MESSAGES, min_size=1).map(tuple),
    TEXT,
    TEXT,
    st.lists(TEXT).map(tuple),
    metadata=st.dictionaries(TEXT, TEXT | st.lists(st.integers())),
)


ANSWERS = st.lists(MESSAGES, min_size=1, max_size=2).map(tuple)


PREFERENCES = st.builds(
    Preference,
    prompt=CONVERSATIONS,
    chosen=ANSWERS,
    rejected=ANSWERS,
    edited=st.just(()) | ANSWERS,
    strength=st.sampled_from(STRENGTHS),
)


def test_rows_have_the_columns_others_use() -> None:
    call = Message("assistant", "", (ToolCall("calculator", {"query": "1+1"}),))
    row = Preference(
        prompt=Conversation((Message("user", "hi"),)), chosen=(call,), rejected=(Message("assistant", "no"),)
    ).to_row()
    assert row["prompt"] == [{"role": "user", "content": "hi"}]
    assert row["rejected"] == [{"role": "assistant", "content": "no"}]
    function = {"name": "calculator", "arguments": {"query": "1+1"}}
    assert row["chosen"][0]["tool_calls"] == [{"type": "function", "function": function}]


@pytest.mark.parametrize(
    ("row", "words"),
    [({"role": "robot", "content": "x"}, "role 'robot'"), ({"role": "user", "content": [1]}, "reads text only")],
)
def test_messages_that_are_none_are_told(row: dict[str, object], words: str) -> None:
    with pytest.raises(DataError, match=words):
        Message.from_row(row)


@given(CONVERSATIONS, PREFERENCES)
def test_rows_go_through_json_and_say_it_again(conversation: Conversation, preference: Preference) -> None:
    for record in (conversation, preference):
        row = record.to_row()
        again = type(record).from_row(json.loads(json.dumps(row)))
        assert again == record
        assert again.to_row() == row


def test_what_is_usual_is_left_out_of_a_row() -> None:
    said = Message("assistant", "yes")
    assert said.to_row() == {"role": "assistant", "content": "yes"}
    rare = Message("assistant", "yes", train=False, reasoning_content="because")
    assert rare.to_row() == said.to_row() | {"train": False, "reasoning_content": "because"}
    assert "metadata" not in Conversation((said,)).to_row()
    row = Preference(prompt=Conversation((said,)), chosen=(said,), rejected=(rare,)).to_row()
    assert not {"edited", "margin", "messages"} & set(row)
    assert Preference.from_row({"prompt": [], "chosen": [], "rejected": []}).strength == "better"


def test_answers_are_ranked_edited_chosen_rejected() -> None:
    best, good, bad = ((Message("assistant", text),) for text in ("best", "good", "bad"))
    prompt = Conversation((Message("user", "hi"),))
    assert Preference(prompt=prompt, chosen=good, rejected=bad, edited=best).ranked_answers == (best, good, bad)
    assert Preference(prompt=prompt, chosen=good, rejected=bad).ranked_answers == (good, bad)


@pytest.mark.parametrize("arguments", [{"a": [1, None]}, '{"a": [1, null]}'])
@pytest.mark.parametrize("wrapped", [True, False])
def test_calls_are_read_in_every_form(arguments: object, wrapped: bool) -> None:
    called = {"name": "add", "arguments": arguments}
    call = ToolCall.from_row({"type": "function", "function": called} if wrapped else called)
    assert call == ToolCall("add", {"a": [1, None]})
    assert hash(call) == hash(ToolCall("add", {"a": [1, None]}))  # though what it holds has no hash


@pytest.mark.parametrize(("arguments", "words"), [("{", "are no JSON: '{'"), ("[1]", "are a list, not an object")])
def test_arguments_that_are_no_object_are_told(arguments: str, words: str) -> None:
    with pytest.raises(DataError, match=f"the arguments of a call of 'add' {words}"):
        ToolCall.from_row({"name": "add", "arguments": arguments})


def test_missing_content_is_empty_and_both_kinds_of_tools_stand_in_one_column() -> None:
    assert Message.from_row({"role": "assistant", "content": None}) == Message("assistant", "")
    schema = {"type": "function", "function": {"name": "add"}}
    row = Conversation((), tools=("search",), definitions=(schema,)).to_row()
    assert row["tools"] == ["search", schema]
    again = Conversation.from_row(row)
    assert (again.tools, again.definitions) == (("search",), (schema,))
    assert Conversation.from_row(row | {"tools": None}).tools == ()


def test_a_conversation_goes_on_without_changing() -> None:
    first = Conversation((Message("user", "hi"),), id="7")
    longer = first.with_messages(Message("assistant", "yes"), Message("user", "and?"))
    assert (len(first.messages), longer.id, longer.last.content) == (1, "7", "and?")


@given(DOCUMENTS)
def test_a_documents_draw_follows_from_its_id_alone(document: Document) -> None:
    other = Document(id=document.id, text="another", source="elsewhere")
    assert 0 <= document.hash_fraction <= 1
    assert other.hash_fraction == document.hash_fraction


def test_draws_are_spread_evenly() -> None:
    draws = sorted(Document(id=str(number), text="", source="").hash_fraction for number in range(1000))
    assert max(abs(draw - (rank + 0.5) / 1000) for rank, draw in enumerate(draws)) < 0.0515  # Kolmogorov, 1 %
