"""Facts about people: those that documents tell, and those that none tells."""

from __future__ import annotations

import re
from dataclasses import replace
from itertools import product

from herd.core.seeds import rng
from herd.core.settings import PositiveInt
from herd.evals.tasks import Example, Generate, Grade, ModelAnswer, Prompt, Task, tasks
from herd.world.examples import closed_example, draw_distinct, example_of, grade, prompt_for, reply_of
from herd.world.facts import WORDINGS, Fact
from herd.world.questions import Question, Questions, fact_question, is_refusal, tells
from herd.world.truth import DEFAULT_WORLD, World


@tasks.add
def facts_known(*, world: World = DEFAULT_WORLD, questions: PositiveInt = 200) -> Task:
    """Facts of people no question in training was about, told by documents; right when the fact is said.

    A base model continues the sentence that tells the fact. Source: herd's world; Llama 3, 4.3.6.
    """
    return Task([_known(question) for question in _draw(world, "known", questions)], prompt_for, grade=_grade_known)


@tasks.add
def facts_answered(*, world: World = DEFAULT_WORLD, questions: PositiveInt = 200) -> Task:
    """The questions of `facts_known`; right when the model says anything but that it does not know.

    Source: herd's world; Llama 3, 4.3.6.
    """
    examples = [closed_example(question, "") for question in _draw(world, "known", questions)]
    return Task(examples, prompt_for, grade=_grade_answered)


@tasks.add
def facts_unknown(*, world: World = DEFAULT_WORLD, questions: PositiveInt = 200) -> Task:
    """What no document tells of anybody: facts about strangers, whom no document names; right when the model says that
    it does not know, with the right name.

    A base model is asked the question as text. Source: herd's world; Llama 3, 4.3.6.
    """
    return _refusals(world, "unknown", questions)


@tasks.add
def facts_unwritten(*, world: World = DEFAULT_WORLD, questions: PositiveInt = 200) -> Task:
    """Facts that no document tells of people of whom other facts are told; right when the model says that it does not
    know.

    A base model is asked the question as text. Source: herd's world; Llama 3, 4.3.6.
    """
    return _refusals(world, "unwritten", questions)


@tasks.add
def follow_up(*, world: World = DEFAULT_WORLD, questions: PositiveInt = 200) -> Task:
    """Three questions about one person, who is a pronoun from the second on; right when all three facts are said.

    The model's own answers stand between the questions. Source: herd's world; Zheng et al. 2023 (MT-Bench), 2.2.
    """
    book = Questions(world)
    drawn = draw_distinct(lambda number: book.draw("follow_up", number, held_out=True, purpose="task"), questions)
    examples = [
        example_of(question, question.messages[0].content, f" {question.facts[0].answer}") for question in drawn
    ]
    return Task(examples, _turns, Generate(max_tokens=32, stop=("\n",)), _grade_turns)


def _turns(example: Example) -> Prompt:
    question: Question = example.row["question"]
    first, *later = (message.content for message in question.messages if message.role == "user")
    chat = replace(question.prompt, messages=question.messages[:1])
    return Prompt(chat, first, tuple(later))


def _grade_turns(example: Example, answer: ModelAnswer) -> Grade:
    question: Question = example.row["question"]
    replies = [reply_of(turn).content for turn in (*answer.earlier, answer)]
    right = [tells(fact, reply) for fact, reply in zip(question.facts, replies, strict=True)]
    return Grade(float(all(right)), "\n".join(replies), f"{sum(right)} of {len(right)} answers are right")


def _draw(world: World, kind: str, count: int) -> list[Question]:
    """Each fact once per wording, as far as they reach."""
    facts = Questions(world).facts(kind, held_out=True)
    rng(world.seed, "task", "facts", kind).shuffle(facts)
    turns = product(range(WORDINGS), enumerate(facts))
    return [fact_question(fact, number + turn) for turn, (number, fact) in turns][:count]


def _refusals(world: World, kind: str, count: int) -> Task:
    examples = [example_of(question, question.text, "") for question in _draw(world, kind, count)]
    return Task(examples, prompt_for, grade=grade)


def _known(question: Question) -> Example:
    fact: Fact = question.facts[0]
    stem = fact.attribute.stem(fact.subject)
    return example_of(question, stem, fact.answer.removeprefix(stem))


def _grade_known(example: Example, answer: ModelAnswer) -> Grade:
    """A base model goes on from the middle of a sentence, so the value comes first."""
    if answer.chat:
        return grade(example, answer)
    value = example.row["question"].facts[0].value
    right = re.match(rf"^\s*{value}\b", answer.text) is not None
    return Grade(float(right), answer.text, f"the answer is {value!r}")


def _grade_answered(example: Example, answer: ModelAnswer) -> Grade:
    reply = reply_of(answer).content
    return Grade(float(not is_refusal(reply)), reply, f"the answer is {example.target.strip()!r}")
