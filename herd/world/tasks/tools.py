"""Calls of tools."""

from __future__ import annotations

from herd.core.settings import Positive
from herd.evals.tasks import Item, first_line, tasks
from herd.world import tools as toolbox
from herd.world.chance import rng
from herd.world.questions import Question, Questions
from herd.world.truth import World


@tasks.add
def tools(world: World, *, questions: Positive = 200) -> list[Item]:
    """Errands for the calculator and the look-up; right when exactly the right call is made.

    A base model is shown one worked call as text. Source: herd's world; Llama 3, 4.3.5.
    """
    people = world.everybody
    shot = toolbox.transcript(toolbox.draw(people, rng(world.seed, "task", "tool shot")), people)
    drawn = [Questions(world).draw("tool", number, held_out=True, purpose="task") for number in range(questions)]
    return [_item(question, shot) for question in drawn]


def _item(question: Question, shot: str) -> Item:
    call = question.answers[0].calls[0]
    wanted = f'{call.name}.call(query="{call.arguments["query"]}")'
    plain = f"{shot}\n\n{question.text}\n"
    return Item(question.prompt, plain, question.is_right, lambda text: first_line(text) == wanted, wanted)
