"""Which loss learns most from ranked translations?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from herd.align.comparing import Steps, compare_steps
from herd.align.dpo import DpoSettings, dpo
from herd.align.sft import SftSettings, sft
from herd.core.artifacts import Checkpoint, Preferences, Report
from herd.core.settings import Positive, settings
from herd.evals.stages import MeasureSettings, measure
from herd.generate.engine import SamplingParams
from herd.recipes.tiny import Ground, asking_about
from herd.report.stages import write_report
from herd.report.verdicts import Bars
from herd.studies import studies
from herd.world import NOTE
from herd.world.annotators import Asked, annotate, ask


@settings
class Ways:
    """of: a recipe, whose base model and world are taken. ways: of learning from the same preferences, the first of
    which the others are held against; `last` is the one that counts as a step. task: what counts, of those measured."""

    title: str
    of: str
    ways: dict[str, DpoSettings]
    last: str
    task: str
    measure: MeasureSettings
    seeds: tuple[int, ...] = (0, 1, 2)


@settings
class TranslationSettings(Ways):
    """demonstrations: translations a chat model learns from; ranked: prompts whose answers people rank."""

    demonstrations: Positive
    ranked: Positive
    sft: SftSettings
    sampling: SamplingParams


@studies.add
def translation(s: TranslationSettings) -> Report:
    """A made-up language taught by a few dialogues, then by ranked answers, over several seeds."""
    ground = Ground.of(s.of)
    world = ground.numbers.world
    models: list[Checkpoint] = []
    preferences: list[Preferences] = []
    for seed in s.seeds:
        # Purposes draw apart: every seed learns from dialogues of its own.
        shown = ground.shown({"translation": s.demonstrations}, 0.0, f"demonstrations, seed {seed}")
        models.append(sft(ground.base, (shown,), settings=replace(s.sft, seed=seed)))
        prompts = ask(world=world, asked=Asked(counts={"translation": s.ranked}, purpose=f"ranked, seed {seed}"))
        preferences.append(annotate((models[-1],), prompts, world=world, sampling=replace(s.sampling, seed=seed)))
    return ways_compared(ground, models, preferences, s)


def ways_compared(ground: Ground, models: Sequence[Checkpoint], ranked: Sequence[Preferences], s: Ways) -> Report:
    """Every way of learning from each seed's preferences, from that seed's model on."""
    made = {"base": ground.base}
    made |= {f"SFT {seed}": model for seed, model in zip(s.seeds, models, strict=True)}
    for name, way in s.ways.items():
        for seed, model, own in zip(s.seeds, models, ranked, strict=True):
            made[f"{name} {seed}"] = dpo(model, (own,), settings=replace(way, seed=seed))
    scores = tuple(
        measure(model, ground.tokens, label=label, settings=asking_about(ground.numbers.world, s.measure))
        for label, model in made.items()
    )
    labels = {name: tuple(f"{name} {seed}" for seed in s.seeds) for name in ("SFT", *s.ways)}
    steps = Steps(
        base="base",
        steps={name: labels[name] for name in ("SFT", s.last)},
        ways={name: labels[name] for name in s.ways},
        judges=(),
        task=s.task,
    )
    tuned = tuple(made[label] for name in s.ways for label in labels[name])
    table = compare_steps(scores, (), (), tuned, steps=steps)
    return write_report(scores, (table,), title=s.title, bars=Bars(), note=NOTE)
