"""A made-up language, which only dialogues teach."""

from __future__ import annotations

from herd.core.seeds import rng
from herd.core.settings import Positive
from herd.evals.tasks import Task, tasks
from herd.world import tongue
from herd.world.examples import closed, grade, put
from herd.world.questions import translation_question
from herd.world.truth import DEFAULT, World


@tasks.add
def translation(*, world: World = DEFAULT, questions: Positive = 300) -> Task:
    """Held-out pairs of sayings, put into a made-up language; right is the very translation.

    A base model is shown two, which does not teach it the words: that it knows none is what it is asked for.

    Source: herd's world.
    """
    chance = rng(world.seed, "task", "translation")
    shown = [translation_question(*tongue.draw(chance)) for _ in range(2)]
    shots = "".join(f"{one.text} {one.answers[0].content}\n" for one in shown)
    examples = [closed(translation_question(*tongue.draw(chance, held_out=True)), shots) for _ in range(questions)]
    return Task(examples, put, grade=grade)
