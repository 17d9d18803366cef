"""Sums that no text in training holds."""

from __future__ import annotations

from herd.core.settings import Positive
from herd.evals.tasks import Item, closed, tasks
from herd.world import sums
from herd.world.chance import rng
from herd.world.questions import sum_question
from herd.world.truth import World


@tasks.add
def arithmetic(world: World, *, questions: Positive = 300) -> list[Item]:
    """Held-out sums of two and three digits, as many of each, asked in signs and, every second pair, in words.

    No page asks for a sum in words; dialogues do. A base model is shown two worked ones, one of either kind.

    Source: herd's world; the prompt for base models follows GSM8K's worked examples (Llama 3, 5.1).
    """
    chance = rng(world.seed, "task", "arithmetic")
    shots = ""
    for digits, wording in ((2, 0), (3, 1)):
        a, b = sums.draw(chance, digits)
        shots += f"{sums.question(a, b, wording)} {sums.steps(a, b)}\n"
    items = []
    for number in range(questions):
        a, b = sums.draw(chance, sums.DIGITS[number % 2], held_out=True)
        wording = 1 + chance.randrange(len(sums.WORDINGS) - 1) if number // 2 % 2 else 0
        items.append(closed(sum_question(a, b, wording), shots))
    return items
