"""Small talk in words that training never put together, or never held."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

from herd.core.seeds import rng
from herd.core.settings import PositiveInt
from herd.evals.tasks import Example, Grade, ModelAnswer, Task, tasks
from herd.world import talk
from herd.world.examples import draw_distinct, example_of, grade, prompt_for
from herd.world.questions import Question, talk_question
from herd.world.tools import TOOL_NAMES
from herd.world.truth import DEFAULT_WORLD, World

_SIDES: tuple[Literal["combination", "word"], ...] = ("combination", "word")
_SHOTS = 3


@tasks.add
def small_talk(
    *,
    world: World = DEFAULT_WORLD,
    questions: PositiveInt = 300,
    held_out: Literal["both", "combination", "word"] = "both",
    language: Literal["all", "de", "en", "es"] = "all",
) -> Task:
    """What people say in small talk; right is an answer of its intent in its language, as a whole, or, where a new word
    stands in what cannot be left out of the question, that it was not understood.

    held_out: what is new about a question: the combination of its parts, or one of its words; `both` takes turns.
    language: one alone, or all in turn. A grade's reason names both. Half of the questions are put with the tools that
    `herd chat` offers, though none is wanted. A base model is shown three exchanges.

    Source: herd's world.
    """
    sides = _SIDES if held_out == "both" else (held_out,)
    languages = talk.TALK_LANGUAGES if language == "all" else (language,)
    chance = rng(world.seed, "task", "talk")

    def draw(number: int) -> Question:
        turn, side = divmod(number, len(sides))
        block, spoken = divmod(turn, len(languages))
        question = talk_question(talk.draw(chance, held_out=sides[side], language=languages[spoken]))
        return replace(question, tools=TOOL_NAMES if block % 2 else ())

    examples = [_example(question, world) for question in draw_distinct(draw, questions)]
    return Task(examples, prompt_for, grade=_grade)


def _example(question: Question, world: World) -> Example:
    _, _, language, _, _ = question.id.split("/", 4)
    chance = rng(world.seed, "task", "talk shots", language)
    shots = [talk.draw(chance, language=language) for _ in range(_SHOTS)]
    lines = "".join(f"{shot.question}\n{shot.answer}\n" for shot in shots)
    return example_of(question, f"{lines}{question.text}\n", question.answers[0].content)


def _grade(example: Example, answer: ModelAnswer) -> Grade:
    verdict = grade(example, answer)
    side, language, intent, _ = example.id.removeprefix("talk/").split("/", 3)
    return Grade(verdict.score, verdict.extracted, f"{language}, {intent}, new {side}: {verdict.reason}")
