"""A calculator: what it answers, and worked calls of it."""

from __future__ import annotations

import operator
import random
import re
from dataclasses import dataclass

from herd.core.records import Conversation, Message, ToolCall
from herd.world import sums

TOOL_NAMES = ("calculator",)
_EXPRESSION = re.compile(r"\s*(\d{1,9})\s*([-+*])\s*(\d{1,9})\s*")
_OPERATORS = {"+": operator.add, "-": operator.sub, "*": operator.mul}


def run_tool(call: ToolCall) -> str:
    """What the tool answers, an error as text among it; tools never raise."""
    if call.name == "calculator":
        return calculate(str(call.arguments.get("query", "")))
    return f"error: there is no tool called {call.name}"


def calculate(query: str) -> str:
    """The value of `a + b`, `a - b` or `a * b` for whole numbers; nothing else is evaluated."""
    match = _EXPRESSION.fullmatch(query)
    if match is None:
        return "error: write two whole numbers with +, - or * between them"
    return str(_OPERATORS[match[2]](int(match[1]), int(match[3])))


@dataclass(frozen=True)
class Errand:
    """A question that wants a tool: the call to make and the answer its result leads to."""

    question: str
    call: ToolCall
    answer: str


def product_errand(a: int, b: int, wording: int = 0) -> Errand:
    """A multiplication, which is beyond steps in the head."""
    call = ToolCall("calculator", {"query": f"{a}*{b}"})
    return Errand(sums.product_question(a, b, wording), call, f"The result is {a * b}.")


def draw_errand(chance: random.Random) -> Errand:
    """A product that is not held out, in any wording."""
    return product_errand(*sums.draw_factors(chance), chance.randrange(len(sums.PRODUCT_WORDINGS)))


def call_text(call: ToolCall) -> str:
    """The call as it stands on a page."""
    return f'{call.name}.call(query="{call.arguments["query"]}")'


def errand_transcript(errand: Errand, layout: str = "{q}\n{a}") -> str:
    """An errand as plain text, the way it might stand on a page. layout: of what is asked or told, and what is made of
    it."""
    call = layout.format(q=errand.question, a=call_text(errand.call))
    return "\n".join((call, layout.format(q=run_tool(errand.call), a=errand.answer)))


def errand_conversation(errand: Errand) -> Conversation:
    """An errand as a conversation with its call and the tool's answer."""
    return Conversation(
        (
            Message("user", errand.question),
            Message("assistant", "", (errand.call,)),
            Message("tool", run_tool(errand.call)),
            Message("assistant", errand.answer),
        ),
        tools=TOOL_NAMES,
    )
