"""Whether a model still answers rightly after many other questions."""

from __future__ import annotations

from herd.core.seeds import rng
from herd.core.settings import PositiveInt
from herd.evals.tasks import Example, Generate, Grade, ModelAnswer, Prompt, Task, tasks
from herd.world.examples import reply_of
from herd.world.questions import Question, Questions
from herd.world.truth import DEFAULT_WORLD, World

_KINDS = ("sum", "known", "unknown", "unwritten", "talk")


@tasks.add
def conversation(*, world: World = DEFAULT_WORLD, questions: PositiveInt = 200, turns: PositiveInt = 10) -> Task:
    """Sums, facts told and never told, and small talk in one conversation; right when the answer to the last of `turns`
    questions is. A grade's reason says how many of all answers are.

    The model's own answers stand between the questions. Source: herd's world; Zheng et al. 2023 (MT-Bench), 2.2.
    """
    book, chance = Questions(world), rng(world.seed, "task", "conversation")

    def example(number: int) -> Example:
        places = range(number * turns, (number + 1) * turns)
        asked = [book.draw(chance.choice(_KINDS), place, held_out=True, purpose="conversation") for place in places]
        last = asked[-1]
        return Example(f"conversation/{number}/{last.id}", {"questions": asked}, last.answers[0].content)

    return Task([example(number) for number in range(questions)], _turns, Generate(max_tokens=48, stop=("\n",)), _grade)


def _turns(example: Example) -> Prompt:
    first, *later = example.row["questions"]
    return Prompt(first.prompt, first.text, tuple(question.text for question in later))


def _grade(example: Example, answer: ModelAnswer) -> Grade:
    asked: list[Question] = example.row["questions"]
    replies = [reply_of(turn) for turn in (*answer.earlier, answer)]
    right = [question.is_right(reply) for question, reply in zip(asked, replies, strict=True)]
    return Grade(
        float(right[-1]),
        replies[-1].content,
        f"{sum(right)} of {len(right)} answers are right; the last is to be {example.target!r}",
    )
