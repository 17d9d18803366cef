"""What do preference losses do to answers that differ in one word?"""

from __future__ import annotations

from dataclasses import replace

from herd.align.sft import sft
from herd.core.artifacts import Checkpoint, Preferences, Report
from herd.core.settings import Positive, settings
from herd.recipes.tiny import Ground
from herd.studies import studies
from herd.studies.translation import Ways, ways_compared
from herd.world.annotators import Asked, ask, misquote


@settings
class EditsSettings(Ways):
    """pairs: sums whose answers differ in one digit of the result."""

    pairs: Positive


@studies.add
def edits(s: EditsSettings) -> Report:
    """Right answers set against the same ones with a slip (Smaug's low edit distance), over several seeds."""
    ground = Ground.of(s.of)
    tiny = ground.numbers
    shown = ground.shown(tiny.demonstrations, tiny.curt_share)
    models: list[Checkpoint] = []
    pairs: list[Preferences] = []
    for seed in s.seeds:
        models.append(sft(ground.base, (shown,), settings=replace(tiny.sft, seed=seed)))
        prompts = ask(world=tiny.world, asked=Asked(counts={"sum": s.pairs}, purpose=f"misquoted, seed {seed}"))
        pairs.append(misquote(prompts, world=tiny.world))
    return ways_compared(ground, models, pairs, s)
