"""Facts about people and places: those that documents tell, and those that none tells."""

from __future__ import annotations

import re

from herd.core.settings import Positive
from herd.evals.tasks import Item, first_line, tasks
from herd.world.chance import rng
from herd.world.facts import Fact
from herd.world.questions import Questions, fact_question, is_refusal
from herd.world.truth import World


@tasks.add
def facts_known(world: World, *, questions: Positive = 200) -> list[Item]:
    """Facts of subjects no question in training was about, told by documents; right when the fact is said.

    A base model continues the sentence that tells the fact. Source: herd's world; Llama 3, 4.3.6.
    """
    return [_known(fact, number) for number, fact in enumerate(_draw(world, questions, written=True))]


@tasks.add
def facts_unknown(world: World, *, questions: Positive = 200) -> list[Item]:
    """Facts that no document tells; right when the model says that it does not know.

    A base model is asked the question as text. Source: herd's world; Llama 3, 4.3.6.
    """
    return [_unknown(fact, number) for number, fact in enumerate(_draw(world, questions, written=False))]


def _draw(world: World, count: int, *, written: bool) -> list[Fact]:
    """Each fact once per wording, as far as they reach."""
    found = Questions(world).facts(written=written, held_out=True)
    rng(world.seed, "task", "facts", written).shuffle(found)
    return (found * 2)[:count]


def _known(fact: Fact, number: int) -> Item:
    question = fact_question(fact, number)
    said = re.compile(rf"^\s*(a|the)?\s*{fact.value}\b")
    stem = fact.attribute.stem(fact.subject)
    told = fact.attribute.tell(fact.subject, fact.value).removeprefix(stem)
    return Item(question.prompt, stem, question.is_right, lambda text: bool(said.match(text)), told)


def _unknown(fact: Fact, number: int) -> Item:
    question = fact_question(fact, number)
    return Item(question.prompt, question.text, question.is_right, lambda text: is_refusal(first_line(text)))
