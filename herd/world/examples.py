"""Questions of the world as examples of tasks."""

from __future__ import annotations

from collections.abc import Callable

from herd.core.records import Message
from herd.evals.tasks import Example, Grade, ModelAnswer, Prompt
from herd.world.questions import Question


def example_of(question: Question, plain: str, target: str) -> Example:
    """plain: what a model that only continues text is given: shots and the question, or the stem of a sentence."""
    return Example(question.id, {"question": question, "plain": plain}, target)


def closed_example(question: Question, shots: str) -> Example:
    """A question of the world that has one answer; a base model is shown `shots` before it."""
    return example_of(question, f"{shots}{question.text}", f" {question.answers[0].content}")


def draw_distinct(draw: Callable[[int], Question], count: int) -> list[Question]:
    """`count` different questions, those of the numbers 0, 1, 2 and so on; fewer where ten numbers for each give no
    more."""
    by_id: dict[str, Question] = {}
    for number in range(10 * count):
        question = draw(number)
        by_id.setdefault(question.id, question)
        if len(by_id) == count:
            break
    return list(by_id.values())


def prompt_for(example: Example) -> Prompt:
    """How a question of the world is put to either kind of model."""
    return Prompt(example.row["question"].prompt, example.row["plain"])


def grade(example: Example, answer: ModelAnswer) -> Grade:
    """Whether the answer is the question's: in a chat the turn, of text that goes on its first line."""
    question: Question = example.row["question"]
    reply = reply_of(answer)
    return Grade(float(question.is_right(reply)), reply.content, f"the answer is {question.answers[0].content!r}")


def reply_of(answer: ModelAnswer) -> Message:
    """What counts of an answer: in a chat the turn, of text that goes on its first line."""
    return answer.message if answer.chat else Message("assistant", first_answer_line(answer.text))


def first_answer_line(text: str) -> str:
    """What a model that only continues text says before it goes on with something else."""
    return text.strip().partition("\n")[0]
