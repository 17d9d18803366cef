"""Which loss learns most from ranked translations?"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import replace

from herd.align.comparing import StepLabels, compare_steps
from herd.align.dpo import DpoSettings, dpo
from herd.align.sft import SftSettings, sft
from herd.core.artifacts import Checkpoint, Preferences, Report
from herd.core.settings import PositiveInt, settings
from herd.evals.stages import EvaluationSettings, evaluate_model
from herd.generate.engine import SamplingParams
from herd.recipes.tiny import AlignmentBase, asking_about
from herd.report.stages import write_report
from herd.report.verdicts import Criteria
from herd.studies import studies
from herd.world import NOTE
from herd.world.annotators import QuestionSet, annotate, draw_prompts


@settings
class MethodComparison:
    """of: a recipe, whose base model and world are taken. methods: of learning from the same preferences, the first of
    which the others are held against; `last` is the one that counts as a step. task: what counts, of those measured."""

    title: str
    of: str
    methods: dict[str, DpoSettings]
    last: str
    task: str
    measure: EvaluationSettings
    seeds: tuple[int, ...] = (0, 1, 2)


@settings
class TranslationSettings(MethodComparison):
    """demonstrations: translations a chat model learns from; ranked: prompts whose answers people rank."""

    demonstrations: PositiveInt
    ranked: PositiveInt
    sft: SftSettings
    sampling: SamplingParams


@studies.add
def translation(s: TranslationSettings) -> Report:
    """A made-up language taught by a few dialogues, then by ranked answers, over several seeds."""
    ground = AlignmentBase.of(s.of)
    world = ground.numbers.world
    models: list[Checkpoint] = []
    preferences: list[Preferences] = []
    for seed in s.seeds:
        # Purposes draw apart: every seed learns from dialogues of its own.
        demonstrations = ground.demonstrations({"translation": s.demonstrations}, 0.0, f"demonstrations, seed {seed}")
        models.append(sft(ground.base, (demonstrations,), settings=replace(s.sft, seed=seed)))
        prompts = draw_prompts(
            world=world, questions=QuestionSet(counts={"translation": s.ranked}, purpose=f"ranked, seed {seed}")
        )
        preferences.append(annotate((models[-1],), prompts, world=world, sampling=replace(s.sampling, seed=seed)))
    return compare_methods(ground, models, preferences, s)


def seed_labels(name: str, seeds: Sequence[int]) -> tuple[str, ...]:
    """What the models of a method are called in tables, seed by seed."""
    return tuple(f"{name} {seed}" for seed in seeds)


def compare_methods(
    ground: AlignmentBase, models: Sequence[Checkpoint], ranked: Sequence[Preferences], s: MethodComparison
) -> Report:
    """Every way of learning from each seed's preferences, from that seed's model on."""
    models_by_label = {"base": ground.base}
    models_by_label |= {f"SFT {seed}": model for seed, model in zip(s.seeds, models, strict=True)}
    for name, method in s.methods.items():
        for seed, model, own in zip(s.seeds, models, ranked, strict=True):
            models_by_label[f"{name} {seed}"] = dpo(model, (own,), settings=replace(method, seed=seed))
    scores = tuple(
        evaluate_model(model, ground.tokens, label=label, settings=asking_about(ground.numbers.world, s.measure))
        for label, model in models_by_label.items()
    )
    labels = {name: seed_labels(name, s.seeds) for name in ("SFT", *s.methods)}
    steps = StepLabels(
        base="base",
        steps={name: labels[name] for name in ("SFT", s.last)},
        methods={name: labels[name] for name in s.methods},
        judges=(),
        task=s.task,
    )
    tuned_labels = itertools.chain.from_iterable(labels[name] for name in s.methods)
    tuned = tuple(models_by_label[label] for label in tuned_labels)
    table = compare_steps(scores, (), (), tuned, steps=steps)
    return write_report(scores, (table,), title=s.title, criteria=Criteria(), note=NOTE)
