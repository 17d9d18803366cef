"""A made-up language, which only dialogues teach."""

from __future__ import annotations

from herd.core.settings import Positive
from herd.evals.tasks import Item, closed, tasks
from herd.world import tongue
from herd.world.chance import rng
from herd.world.questions import translation_question
from herd.world.truth import World


@tasks.add
def translation(world: World, *, questions: Positive = 300) -> list[Item]:
    """Held-out pairs of sayings, put into a made-up language; right is the very translation.

    A base model is shown two, which does not teach it the words: that it knows none is what it is asked for.

    Source: herd's world.
    """
    chance = rng(world.seed, "task", "translation")
    shown = [translation_question(*tongue.draw(chance)) for _ in range(2)]
    shots = "".join(f"{one.text} {one.answers[0].content}\n" for one in shown)
    return [closed(translation_question(*tongue.draw(chance, held_out=True)), shots) for _ in range(questions)]
