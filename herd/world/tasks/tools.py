"""Calls of the calculator, and what is made of its results."""

from __future__ import annotations

from herd.core.seeds import rng
from herd.core.settings import PositiveInt
from herd.evals.tasks import Example, Grade, ModelAnswer, Prompt, Task, tasks
from herd.world import tools as toolbox
from herd.world.examples import draw_distinct, example_of, first_answer_line, grade, prompt_for, reply_of
from herd.world.questions import Question, Questions
from herd.world.truth import DEFAULT_WORLD, World


@tasks.add
def tools(*, world: World = DEFAULT_WORLD, questions: PositiveInt = 200) -> Task:
    """Held-out products, for which a calculator is there; right when exactly the right call is made.

    A base model is shown one worked call as text. Source: herd's world; Llama 3, 4.3.5.
    """
    shot = _shot(world)
    examples = [
        example_of(question, f"{shot}{question.text}\n", toolbox.call_text(question.answers[0].tool_calls[0]))
        for question in _draw(world, questions)
    ]
    return Task(examples, prompt_for, grade=_grade_call)


@tasks.add
def tool_results(*, world: World = DEFAULT_WORLD, questions: PositiveInt = 200) -> Task:
    """The same products with the right call and what the calculator says; right when the result is said.

    A base model is given all of it as text, after one worked call. Source: herd's world; Llama 3, 4.3.5.
    """
    shot, examples = _shot(world), []
    for question in _draw(world, questions):
        call, result, closing = question.answers
        plain = "\n".join((question.text, toolbox.call_text(call.tool_calls[0]), result.content, ""))
        examples.append(example_of(question, shot + plain, closing.content))
    return Task(examples, _after_the_call, grade=_grade_result)


def _shot(world: World) -> str:
    errand = toolbox.draw_errand(rng(world.seed, "task", "tool shot"))
    return f"{toolbox.errand_transcript(errand)}\n\n"


def _draw(world: World, count: int) -> list[Question]:
    book = Questions(world)
    return draw_distinct(lambda number: book.draw("tool", number, held_out=True, purpose="task"), count)


def _after_the_call(example: Example) -> Prompt:
    question: Question = example.row["question"]
    return Prompt(question.prompt.with_messages(*question.answers[:-1]), example.row["plain"])


def _grade_call(example: Example, answer: ModelAnswer) -> Grade:
    if answer.chat:
        return grade(example, answer)
    line = first_answer_line(answer.text)
    return Grade(float(line == example.target), line, f"the call is {example.target}")


def _grade_result(example: Example, answer: ModelAnswer) -> Grade:
    reply = reply_of(answer)
    right = not reply.tool_calls and example.row["question"].judge(reply.content)
    return Grade(float(right), reply.content, f"the answer is {example.target!r}")
