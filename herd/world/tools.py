"""A calculator and a look-up: what they answer, and worked calls of them."""

from __future__ import annotations

import operator
import random
import re
from dataclasses import dataclass

from herd.core.records import Conversation, Message, ToolCall
from herd.world.facts import Fact, People

TOOL_NAMES = ("calculator", "lookup")
_EXPRESSION = re.compile(r"\s*(\d{1,9})\s*([-+*])\s*(\d{1,9})\s*")
_OPERATORS = {"+": operator.add, "-": operator.sub, "*": operator.mul}


def run_tool(call: ToolCall, people: People) -> str:
    """What the tool answers, an error as text among it; tools never raise. people: whom the look-up knows."""
    query = str(call.arguments.get("query", ""))
    if call.name == "calculator":
        return calculate(query)
    if call.name == "lookup":
        return look_up(query, people)
    return f"error: there is no tool called {call.name}"


def calculate(query: str) -> str:
    """The value of `a + b`, `a - b` or `a * b` for whole numbers; nothing else is evaluated."""
    match = _EXPRESSION.fullmatch(query)
    if match is None:
        return "error: write two whole numbers with +, - or * between them"
    return str(_OPERATORS[match[2]](int(match[1]), int(match[3])))


def look_up(query: str, people: People) -> str:
    """The value of `attribute of subject`, also where no document tells it."""
    attribute, _, subject = query.partition(" of ")
    fact = people.find(attribute.strip(), subject.strip())
    return fact.value if fact else "error: not found"


@dataclass(frozen=True)
class Errand:
    """A question that wants a tool: the call to make and the answer its result leads to."""

    question: str
    call: ToolCall
    answer: str


def product_errand(a: int, b: int) -> Errand:
    """A multiplication, which is beyond steps in the head."""
    call = ToolCall("calculator", {"query": f"{a}*{b}"})
    return Errand(f"What is {a} times {b}?", call, f"The result is {a * b}.")


def draw_errand(people: People, chance: random.Random, *, held_out: bool = False) -> Errand:
    """An errand from the wanted side of the split: products of different first factors, subjects held out."""
    if chance.random() < 0.5:
        while True:
            a, b = chance.randint(10, 99), chance.randint(10, 99)
            if (a % 10 == 7) == held_out:
                return product_errand(a, b)
    return lookup_errand(
        chance.choice([fact for fact in people.facts if not fact.in_documents and fact.held_out == held_out])
    )


def lookup_errand(fact: Fact) -> Errand:
    """Something that only the look-up knows."""
    query = f"{fact.attribute.name} of {fact.subject}"
    return Errand(f"Look up the {query}.", ToolCall("lookup", {"query": query}), fact.answer)


def errand_transcript(errand: Errand, people: People) -> str:
    """An errand as plain text, the way it might stand on a page."""
    query = errand.call.arguments["query"]
    result = run_tool(errand.call, people)
    return f'{errand.question}\n{errand.call.name}.call(query="{query}")\n{result}\n{errand.answer}'


def errand_conversation(errand: Errand, people: People) -> Conversation:
    """An errand as a conversation with its call and the tool's answer."""
    return Conversation(
        (
            Message("user", errand.question),
            Message("assistant", "", (errand.call,)),
            Message("tool", run_tool(errand.call, people)),
            Message("assistant", errand.answer),
        ),
        tools=TOOL_NAMES,
    )
