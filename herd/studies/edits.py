"""What do preference losses do to answers that differ in one word?"""

from __future__ import annotations

from dataclasses import replace

from herd.align.sft import sft
from herd.core.artifacts import Checkpoint, Preferences, Report
from herd.core.settings import PositiveInt, settings
from herd.recipes.tiny import AlignmentBase
from herd.studies import studies
from herd.studies.translation import MethodComparison, compare_methods
from herd.world.annotators import QuestionSet, corrupt_answers, draw_prompts


@settings
class EditsSettings(MethodComparison):
    """pairs: sums whose answers differ in one digit of the result."""

    pairs: PositiveInt


@studies.add
def edits(s: EditsSettings) -> Report:
    """Right answers set against the same ones with a slip (Smaug's low edit distance), over several seeds."""
    ground = AlignmentBase.of(s.of)
    tiny = ground.numbers
    demonstrations = ground.demonstrations(tiny.demonstrations)
    replayed = ground.tokens if tiny.sft.replay else None
    models: list[Checkpoint] = []
    pairs: list[Preferences] = []
    for seed in s.seeds:
        models.append(sft(ground.base, (demonstrations,), replayed, settings=replace(tiny.sft, seed=seed)))
        prompts = draw_prompts(
            world=tiny.world, questions=QuestionSet(counts={"sum": s.pairs}, purpose=f"misquoted, seed {seed}")
        )
        pairs.append(corrupt_answers(prompts, world=tiny.world))
    return compare_methods(ground, models, pairs, s)
