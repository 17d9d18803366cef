"""Calls of tools as they are written, and read back whatever the form."""

from __future__ import annotations

import keyword
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from herd.core.errors import DataError
from herd.core.records import Conversation, Message, ToolCall
from herd.tokens.chat import Llama3ChatTemplate
from herd.tokens.tools import (
    INTERPRETER,
    ToolCallFormat,
    read_blocks,
    read_calls,
    tool_answer,
    with_definitions,
    write_calls,
)
from tests.tokens.test_chat import TOKENIZER

NAMES = st.from_regex(r"[a-z_][a-z0-9_]{0,8}", fullmatch=True).filter(lambda name: not keyword.iskeyword(name))
VALUES = st.text(max_size=8) | st.integers() | st.booleans() | st.none() | st.lists(st.integers(), max_size=3)
CALLS = st.builds(ToolCall, NAMES, st.dictionaries(NAMES, VALUES, max_size=3))


@pytest.mark.parametrize("form", ["json", "hugging_face"])
@given(CALLS)
def test_calls_in_json_are_read_back(form: ToolCallFormat, call: ToolCall) -> None:
    text = write_calls((call,), form)
    assert read_calls(text, tagged=form == "json") == (call,)
    assert read_blocks(f"so:<tool_call>\n{text}\n</tool_call>") == (call,)


@given(st.lists(CALLS, min_size=1, max_size=3))
def test_a_list_of_pythons_calls_is_read_back(calls: list[ToolCall]) -> None:
    found = read_calls(write_calls(calls, "python_list"), tagged=False)
    assert found == tuple(calls)


@pytest.mark.parametrize(
    ("text", "calls"),
    [
        ('<function=f>{"a": {"b": 1}}</function>', [("f", {"a": {"b": 1}})]),
        ('well: <function=f>{"a": 1}', [("f", {"a": 1})]),
        ("<function=f>{broken}</function>", []),
        ('f.call(a="1", b="x y")', [("f", {"a": "1", "b": "x y"})]),
        ('{"name": "f"}', [("f", {})]),
        ('{"name": "f", "arguments": {"a": null}}', [("f", {"a": None})]),
        ('{"name": "f", "parameters": [1]}', []),
        ('{"name": 3}', []),
        ("[f(a=1), g()]", [("f", {"a": 1}), ("g", {})]),
        ("[f(1)]", []),
        ("[f(a=g())]", []),
        ("[1, 2]", []),
        ("[", []),
        ("f(a=1)", []),
        ("plain talk", []),
    ],
)
def test_what_is_a_call_is_read_and_what_is_none_is_text(text: str, calls: list[tuple[str, dict[str, Any]]]) -> None:
    assert read_calls(text, tagged=False) == tuple(ToolCall(*call) for call in calls)


def test_after_the_tag_what_is_no_call_is_code() -> None:
    assert read_calls("print(1)", tagged=True) == (ToolCall(INTERPRETER, {"code": "print(1)"}),)
    assert read_calls(" \n", tagged=True) == ()
    assert write_calls((ToolCall(INTERPRETER, {"code": "print(1)"}),), "function_tag") == "print(1)"


def test_one_broken_call_of_several_spoils_them() -> None:
    whole = '<tool_call>{"name": "f", "arguments": {}}</tool_call>'
    assert len(read_blocks(whole * 2)) == 2
    assert read_blocks(whole + '<tool_call>{"name": 3}</tool_call>') == ()
    assert read_blocks("none") == ()


@pytest.mark.parametrize("form", ["builtin", "function_tag", "python_list"])
def test_a_form_that_tells_no_definitions_is_refused(form: ToolCallFormat) -> None:
    asked = Conversation((Message("user", "hi"),))
    with pytest.raises(DataError, match=f"the form '{form}' has no definitions of tools; choose 'json'"):
        with_definitions(asked, [], form)


def test_only_hugging_face_writes_an_answer_as_json() -> None:
    answer = Message("tool", 'ü "x"')
    assert tool_answer(answer, "hugging_face") == '"ü \\"x\\""'
    assert tool_answer(answer, "json") == 'ü "x"'


def test_definitions_stand_in_the_first_user_message() -> None:
    asked = Conversation((Message("system", "s"), Message("user", "Weather?")))
    told = with_definitions(asked, [{"type": "function", "function": {"name": "f"}}], "hugging_face")
    assert told.messages[0] == asked.messages[0]
    assert told.messages[1].content == (
        "Given the following functions, please respond with a JSON for a function call with its proper arguments "
        'that best answers the given prompt.\n\nRespond in the format {"name": function name, "parameters": '
        "dictionary of argument name and its value}.Do not use variables.\n\n"
        '{\n    "type": "function",\n    "function": {\n        "name": "f"\n    }\n}\n\nWeather?'
    )
    assert '{"type": "function", "name": function name' in with_definitions(asked, [], "json").messages[1].content
    with pytest.raises(DataError, match="no user speaks"):
        with_definitions(Conversation(()), [], "json")
    answer = Llama3ChatTemplate(TOKENIZER, "hugging_face").encode_message(Message("tool", 'a "b"')).ids
    assert TOKENIZER.show(answer).endswith('"a \\"b\\""<|eot_id|>')


@given(st.text(max_size=40), st.booleans())
def test_reading_calls_never_fails(text: str, tagged: bool) -> None:
    for call in read_calls(text, tagged=tagged):
        assert isinstance(call.arguments, dict)


def test_the_json_form_is_what_metas_code_writes() -> None:
    tools = pytest.importorskip("llama_models.llama3.tool_utils", reason="llama-models is not installed")
    kinds = pytest.importorskip("llama_models.datatypes", reason="llama-models is not installed")
    call = kinds.ToolCall(call_id="1", tool_name="get_weather", arguments={"city": "Ulm", "days": 2})
    forms: tuple[ToolCallFormat, ...] = ("json", "function_tag", "python_list")
    for form in forms:
        wanted = tools.ToolUtils.encode_tool_call(call, kinds.ToolPromptFormat(form))
        assert write_calls((ToolCall("get_weather", {"city": "Ulm", "days": 2}),), form) == wanted
