"""A made-up language, which only dialogues teach."""

from __future__ import annotations

from herd.core.seeds import rng
from herd.core.settings import PositiveInt
from herd.evals.tasks import Task, tasks
from herd.world import tongue
from herd.world.examples import closed_example, grade, prompt_for
from herd.world.questions import translation_question
from herd.world.truth import DEFAULT_WORLD, World


@tasks.add
def velu_translation(*, world: World = DEFAULT_WORLD, questions: PositiveInt = 300) -> Task:
    """Held-out pairs of sayings, put into a made-up language; right is the very translation.

    A base model is shown two, which does not teach it the words: that it knows none is what it is asked for.

    Source: herd's world.
    """
    chance = rng(world.seed, "task", "translation")
    demonstrations = [translation_question(*tongue.draw_sayings(chance)) for _ in range(2)]
    shots = "".join(f"{demonstration.text} {demonstration.answers[0].content}\n" for demonstration in demonstrations)
    examples = [
        closed_example(translation_question(*tongue.draw_sayings(chance, held_out=True)), shots)
        for _ in range(questions)
    ]
    return Task(examples, prompt_for, grade=grade)
