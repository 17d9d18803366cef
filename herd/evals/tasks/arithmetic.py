"""Sums that no text in training holds."""

from __future__ import annotations

from herd.core.records import Message
from herd.core.settings import Positive
from herd.evals.tasks import Item, first_line, tasks
from herd.world import sums
from herd.world.chance import rng
from herd.world.questions import Question, sum_question
from herd.world.truth import World

_SHOTS = 2


@tasks.add
def arithmetic(world: World, *, questions: Positive = 300) -> list[Item]:
    """Held-out sums of two, three and four digits, as many of each; a base model is shown two worked ones.

    No page tells sums of four digits; dialogues do.

    Source: herd's world; the prompt for base models follows GSM8K's worked examples (Llama 3, 5.1).
    """
    chance = rng(world.seed, "task", "arithmetic")
    shown = [sums.draw(chance, 2 + number % 2) for number in range(_SHOTS)]
    shots = "".join(f"{sums.question(a, b)} {sums.steps(a, b)}\n" for a, b in shown)
    digits = [sums.DIGITS[number % len(sums.DIGITS)] for number in range(questions)]
    return [_item(sum_question(*sums.draw(chance, count, held_out=True)), shots) for count in digits]


def _item(question: Question, shots: str) -> Item:
    return Item(
        question.prompt,
        f"{shots}{question.text}",
        question.is_right,
        lambda text: question.is_right(Message("assistant", first_line(text))),
    )
