"""Sums that no text in training holds."""

from __future__ import annotations

from herd.core.seeds import rng
from herd.core.settings import PositiveInt
from herd.evals.tasks import Task, tasks
from herd.world import sums
from herd.world.examples import closed_example, grade, prompt_for
from herd.world.questions import sum_question
from herd.world.truth import DEFAULT_WORLD, World


@tasks.add
def arithmetic(*, world: World = DEFAULT_WORLD, questions: PositiveInt = 300) -> Task:
    """Held-out sums of two and three digits, as many of each, and as many in each wording.

    A base model is shown two worked ones. Right is what ends with the right result.

    Source: herd's world; the prompt for base models follows GSM8K's worked examples (Llama 3, 5.1).
    """
    chance = rng(world.seed, "task", "arithmetic")
    shots = ""
    for digits, wording in ((2, 0), (3, 1)):
        a, b = sums.draw_addends(chance, digits)
        shots += f"{sums.question(a, b, wording)} {sums.worked_steps(a, b)}\n"
    examples = []
    for number in range(questions):
        a, b = sums.draw_addends(chance, sums.DIGITS[number % 2], held_out=True)
        examples.append(closed_example(sum_question(a, b, number // 2 % len(sums.WORDINGS)), shots))
    return Task(examples, prompt_for, grade=grade)
