"""Facts about people and places: those that documents tell, and those that none tells."""

from __future__ import annotations

import re
from dataclasses import replace

from herd.core.seeds import rng
from herd.core.settings import PositiveInt
from herd.evals.tasks import Example, Grade, ModelAnswer, Task, tasks
from herd.world.examples import example_of, grade, prompt_for
from herd.world.facts import Fact
from herd.world.questions import Questions, fact_question
from herd.world.truth import DEFAULT_WORLD, World


@tasks.add
def facts_known(*, world: World = DEFAULT_WORLD, questions: PositiveInt = 200) -> Task:
    """Facts of subjects no question in training was about, told by documents; right when the fact is said.

    A base model continues the sentence that tells the fact. Source: herd's world; Llama 3, 4.3.6.
    """
    facts = _draw(world, questions, in_documents=True)
    return Task([_known(fact, number) for number, fact in enumerate(facts)], prompt_for, grade=_grade_known)


@tasks.add
def facts_unknown(*, world: World = DEFAULT_WORLD, questions: PositiveInt = 200) -> Task:
    """Facts that no document tells; right when the model says that it does not know.

    A base model is asked the question as text. Source: herd's world; Llama 3, 4.3.6.
    """
    fact_questions = [
        fact_question(fact, number) for number, fact in enumerate(_draw(world, questions, in_documents=False))
    ]
    return Task([example_of(question, question.text, "") for question in fact_questions], prompt_for, grade=grade)


def _draw(world: World, count: int, *, in_documents: bool) -> list[Fact]:
    """Each fact once per wording, as far as they reach."""
    facts = Questions(world).facts(in_documents=in_documents, held_out=True)
    rng(world.seed, "task", "facts", in_documents).shuffle(facts)
    return (facts * 2)[:count]


def _known(fact: Fact, number: int) -> Example:
    question = fact_question(fact, number)
    stem = fact.attribute.stem(fact.subject)
    target = fact.attribute.tell(fact.subject, fact.value).removeprefix(stem)
    example = example_of(question, stem, target)
    return replace(example, row={**example.row, "value": fact.value})


def _grade_known(example: Example, answer: ModelAnswer) -> Grade:
    """A base model goes on from the middle of a sentence, so the value comes first."""
    if answer.chat:
        return grade(example, answer)
    value = example.row["value"]
    right = re.match(rf"^\s*(a|the)?\s*{value}\b", answer.text) is not None
    return Grade(float(right), answer.text, f"the answer is {value!r}")
