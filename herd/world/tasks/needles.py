"""A code hidden in a text and asked for in a chat, by the length of the text.

The task `needle` of herd's own measure asks models that continue text; a chat model is asked here the way people would.
"""

from __future__ import annotations

from herd.core.settings import PositiveInt
from herd.evals.tasks import Generate, Task, tasks
from herd.world.examples import closed_example, draw_distinct, grade, prompt_for
from herd.world.questions import Questions
from herd.world.truth import DEFAULT_WORLD, World


@tasks.add
def needles_256(*, world: World = DEFAULT_WORLD, questions: PositiveInt = 200, characters: PositiveInt = 1120) -> Task:
    """A code hidden at one of five depths of a text about people; right when it is said. A model whose context does not
    hold the text does not find it.

    characters: of the text; with the question and the chat format some 256 tokens of a vocabulary of `tiny`'s.

    Source: herd's world; Kamradt 2023 (LLMTest_NeedleInAHaystack); Llama 3, 3.4.2.
    """
    return _needles(world, questions, characters)


@tasks.add
def needles_512(*, world: World = DEFAULT_WORLD, questions: PositiveInt = 200, characters: PositiveInt = 2300) -> Task:
    """The same in some 512 tokens. Source: as of `needles_256`."""
    return _needles(world, questions, characters)


@tasks.add
def needles_1024(*, world: World = DEFAULT_WORLD, questions: PositiveInt = 200, characters: PositiveInt = 4200) -> Task:
    """The same in some 1,024 tokens. Source: as of `needles_256`."""
    return _needles(world, questions, characters)


def _needles(world: World, count: int, characters: int) -> Task:
    book = Questions(world)
    drawn = draw_distinct(lambda number: book.needle(characters, number, held_out=True), count)
    examples = [closed_example(question, "") for question in drawn]
    return Task(examples, prompt_for, Generate(long_prompts="unanswered"), grade)
