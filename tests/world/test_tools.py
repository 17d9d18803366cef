"""The calculator: what it answers, and calls of it as text and as conversations."""

from __future__ import annotations

import random
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from herd.core.records import ToolCall
from herd.world import sums, tools


@pytest.mark.parametrize(
    ("query", "answer"),
    [("6*7", "42"), ("12 + 30", "42"), ("50-8", "42"), ("__import__('os')", "error"), ("9**9", "error"), ("", "error")],
)
def test_the_calculator_computes_and_nothing_else(query: str, answer: str) -> None:
    assert tools.calculate(query).startswith(answer)


def test_a_tool_that_is_not_there_is_named() -> None:
    assert tools.run_tool(ToolCall("rocket", {})) == "error: there is no tool called rocket"


def test_transcripts_hold_the_call_and_its_result() -> None:
    errand = tools.product_errand(12, 34, 2)
    assert tools.errand_transcript(errand) == (
        'Please multiply 12 by 34.\ncalculator.call(query="12*34")\n408\nThe result is 408.'
    )


@settings(max_examples=30)
@given(st.text(max_size=30))
def test_tools_never_raise(query: str) -> None:
    for name in (*tools.TOOL_NAMES, query):
        for arguments in ({"query": query}, {"other": query}, {"query": None}):
            assert isinstance(tools.run_tool(ToolCall(name, arguments)), str)


@given(st.integers(0, 10**9 - 1), st.integers(0, 10**9 - 1))
def test_the_calculator_is_right(a: int, b: int) -> None:
    assert [tools.calculate(f"{a}{sign}{b}") for sign in "+-*"] == [str(a + b), str(a - b), str(a * b)]


def test_drawn_errands_are_never_held_out_and_of_every_wording() -> None:
    wordings = set()
    for seed in range(200):
        errand = tools.draw_errand(random.Random(seed))
        a, b = map(int, errand.call.arguments["query"].split("*"))
        assert not sums.is_held_out_product(a, b)
        wordings.add(re.sub(r"\d+", "", errand.question))
    assert len(wordings) == len(sums.PRODUCT_WORDINGS)


def test_a_conversation_holds_the_call_what_the_tool_says_and_an_answer_with_it() -> None:
    for seed in range(20):
        errand = tools.draw_errand(random.Random(seed))
        conversation = tools.errand_conversation(errand)
        asked, called, answered, closing = conversation.messages
        assert [message.role for message in conversation.messages] == ["user", "assistant", "tool", "assistant"]
        assert called.tool_calls == (errand.call,)
        assert (asked.content, closing.content) == (errand.question, errand.answer)
        assert answered.content in closing.content
        assert conversation.tools == tools.TOOL_NAMES
