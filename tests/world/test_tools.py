"""The calculator and the look-up: what they answer, and calls of them as text and as conversations."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from herd.core.records import ToolCall
from herd.world import tools
from herd.world.truth import World

WORLD = World(people=24)


@pytest.mark.parametrize(
    ("query", "answer"),
    [("6*7", "42"), ("12 + 30", "42"), ("50-8", "42"), ("__import__('os')", "error"), ("9**9", "error"), ("", "error")],
)
def test_the_calculator_computes_and_nothing_else(query: str, answer: str) -> None:
    assert tools.calculate(query).startswith(answer)


def test_the_look_up_knows_what_no_page_tells() -> None:
    people = WORLD.everybody
    fact = next(fact for fact in people.facts if not fact.in_documents)
    assert tools.look_up(f"{fact.attribute.name} of {fact.subject}", people) == fact.value
    assert tools.look_up("shoe size of nobody", people) == "error: not found"
    assert tools.run_tool(ToolCall("rocket", {}), people) == "error: there is no tool called rocket"


def test_transcripts_hold_the_call_and_its_result() -> None:
    people = WORLD.everybody
    for seed in range(20):
        errand = tools.draw_errand(people, random.Random(seed))
        text = tools.errand_transcript(errand, people)
        assert tools.run_tool(errand.call, people) in text.splitlines()
        assert text.endswith(errand.answer)


@settings(max_examples=30)
@given(st.text(max_size=30))
def test_tools_never_raise(query: str) -> None:
    for name in (*tools.TOOL_NAMES, query):
        for arguments in ({"query": query}, {"other": query}, {"query": None}):
            assert isinstance(tools.run_tool(ToolCall(name, arguments), WORLD.everybody), str)


@given(st.integers(0, 10**9 - 1), st.integers(0, 10**9 - 1))
def test_the_calculator_is_right(a: int, b: int) -> None:
    assert [tools.calculate(f"{a}{sign}{b}") for sign in "+-*"] == [str(a + b), str(a - b), str(a * b)]


def test_errands_are_of_the_side_asked_for() -> None:
    people = WORLD.everybody
    kinds = set()
    for held_out in (False, True):
        for seed in range(60):
            errand = tools.draw_errand(people, random.Random(seed), held_out=held_out)
            query = errand.call.arguments["query"]
            kinds.add(errand.call.name)
            if errand.call.name == "calculator":
                assert (int(query.split("*")[0]) % 10 == 7) == held_out
            else:
                fact = people.find(*query.split(" of "))
                assert fact is not None
                assert not fact.in_documents
                assert fact.held_out == held_out
    assert kinds == set(tools.TOOL_NAMES)


def test_a_conversation_holds_the_call_what_the_tool_says_and_an_answer_with_it() -> None:
    people = WORLD.everybody
    for seed in range(20):
        errand = tools.draw_errand(people, random.Random(seed))
        found = tools.errand_conversation(errand, people)
        asked, called, answered, closing = found.messages
        assert [one.role for one in found.messages] == ["user", "assistant", "tool", "assistant"]
        assert called.tool_calls == (errand.call,)
        assert (asked.content, closing.content) == (errand.question, errand.answer)
        assert answered.content in closing.content
        assert found.tools == tools.TOOL_NAMES
