"""Calls of tools."""

from __future__ import annotations

from herd.core.seeds import rng
from herd.core.settings import PositiveInt
from herd.evals.tasks import Example, Grade, ModelAnswer, Task, tasks
from herd.world import tools as toolbox
from herd.world.examples import example_of, first_answer_line, grade, prompt_for
from herd.world.questions import Question, Questions
from herd.world.truth import DEFAULT_WORLD, World


@tasks.add
def tools(*, world: World = DEFAULT_WORLD, questions: PositiveInt = 200) -> Task:
    """Errands for the calculator and the look-up; right when exactly the right call is made.

    A base model is shown one worked call as text. Source: herd's world; Llama 3, 4.3.5.
    """
    people = world.everybody
    shot = toolbox.errand_transcript(toolbox.draw_errand(people, rng(world.seed, "task", "tool shot")), people)
    tool_questions = [
        Questions(world).draw("tool", number, held_out=True, purpose="task") for number in range(questions)
    ]
    return Task([_example(question, shot) for question in tool_questions], prompt_for, grade=_grade)


def _example(question: Question, shot: str) -> Example:
    call = question.answers[0].tool_calls[0]
    target = f'{call.name}.call(query="{call.arguments["query"]}")'
    return example_of(question, f"{shot}\n\n{question.text}\n", target)


def _grade(example: Example, answer: ModelAnswer) -> Grade:
    if answer.chat:
        return grade(example, answer)
    line = first_answer_line(answer.text)
    return Grade(float(line == example.target), line, f"the call is {example.target}")
