"""Which loss learns most from ranked translations?"""

from __future__ import annotations

from dataclasses import replace

from herd.align.average import average
from herd.align.comparing import Steps, compare_steps
from herd.align.dpo import DpoSettings, dpo
from herd.align.people import Asked, annotate, ask
from herd.align.sft import SftSettings, sft
from herd.core.artifacts import Checkpoint, Report
from herd.core.settings import Positive, settings
from herd.evals.stages import MeasureSettings, measure
from herd.generate.engine import Sampling
from herd.recipes.tiny import Ground
from herd.report.stages import write_report
from herd.report.verdicts import Bars
from herd.studies import studies


@settings
class TranslationSettings:
    """of: a recipe, whose base model and world are taken. demonstrations: translations a chat model learns from;
    ranked: prompts whose answers people rank. members: fine-tunings whose mean a seed's model is. ways: of learning
    from these, the first of which the others are held against; `last` is the one that counts as a step."""

    title: str
    of: str
    demonstrations: Positive
    ranked: Positive
    members: Positive
    sft: SftSettings
    sampling: Sampling
    ways: dict[str, DpoSettings]
    last: str
    measure: MeasureSettings
    seeds: tuple[int, ...] = (0, 1, 2)


@studies.add
def translation(s: TranslationSettings) -> Report:
    """A made-up language taught by a few dialogues, then by ranked answers, over several seeds."""
    ground = Ground.of(s.of)
    world = ground.numbers.world
    measured = {"base": measure(ground.base, ground.tokens, label="base", world=world, settings=s.measure)}
    tuned: dict[str, list[Checkpoint]] = {name: [] for name in s.ways}
    for seed in s.seeds:
        # Purposes draw apart: every seed learns from dialogues of its own.
        shown = ground.shown({"translation": s.demonstrations}, 0.0, f"demonstrations, seed {seed}")
        members = (replace(s.sft, seed=seed * s.members + number) for number in range(s.members))
        chat = average(tuple(sft(ground.base, (shown,), settings=one) for one in members))
        prompts = ask(world=world, asked=Asked(counts={"translation": s.ranked}, purpose=f"ranked, seed {seed}"))
        ranked = annotate((chat,), prompts, world=world, sampling=replace(s.sampling, seed=seed))
        made = {"SFT": chat}
        for name, way in s.ways.items():
            made[name] = dpo(chat, (ranked,), settings=replace(way, seed=seed))
            tuned[name].append(made[name])
        for name, model in made.items():
            label = f"{name} {seed}"
            measured[label] = measure(model, ground.tokens, label=label, world=world, settings=s.measure)
    labels = {name: tuple(f"{name} {seed}" for seed in s.seeds) for name in ("SFT", *s.ways)}
    steps = Steps(
        base="base",
        steps={name: labels[name] for name in ("SFT", s.last)},
        ways={name: labels[name] for name in s.ways},
        judges=(),
        task="translation",
    )
    in_order = tuple(model for name in s.ways for model in tuned[name])
    table = compare_steps(tuple(measured.values()), (), (), in_order, steps=steps)
    return write_report(tuple(measured.values()), (table,), title=s.title, bars=Bars())
