"""What does each step of alignment gain, and what does each part of the preference loss do?"""

from __future__ import annotations

from dataclasses import replace

from herd.align.comparing import Steps, compare_steps
from herd.align.dpo import DpoSettings, dpo
from herd.align.people import Asked, annotate, ask, demonstrate
from herd.align.reward import train_reward
from herd.align.select import SelectSettings, select
from herd.align.sft import sft
from herd.core.artifacts import Report
from herd.core.recipe import load_recipe
from herd.core.settings import Count, Positive, settings
from herd.judge.verifiers import verifiers
from herd.recipes import recipes
from herd.recipes.data import prepared
from herd.recipes.tiny import TinySettings, measured, pretrained
from herd.report.stages import write_report
from herd.report.verdicts import Bars
from herd.studies import studies


@settings
class AlignmentSettings:
    """of: a recipe, whose base model, world and numbers are taken. ranked, prompts: as in a round of it. tries: answers
    a prompt. ways: of learning from the same preferences; `last` is the one that counts as a step."""

    title: str
    of: str
    ranked: dict[str, Count]
    prompts: dict[str, Count]
    tries: Positive
    ways: dict[str, DpoSettings]
    last: str
    task: str
    seeds: tuple[int, ...] = (0, 1, 2)


@studies.add
def alignment(s: AlignmentSettings) -> Report:
    """One round over several seeds: SFT, rejection sampling and preferences, each beside the step before."""
    tiny = load_recipe(s.of, recipes).settings
    assert isinstance(tiny, TinySettings)
    data = prepared(tiny)
    base = pretrained(data, tiny)
    gold = verifiers.use("true_in_world", world=tiny.world)
    shown = demonstrate(
        world=tiny.world,
        asked=Asked(counts=tiny.demonstrations, purpose="demonstrations"),
        curt_share=tiny.curt_share,
    )
    scores, judges, chosen, tuned = [measured(base, data.tokens, "base", tiny)], [], [], []
    for seed in s.seeds:
        sampling = replace(tiny.sampling, seed=seed)
        chat = sft(base, (shown,), settings=replace(tiny.sft, seed=seed))
        to_rank = ask(world=tiny.world, asked=Asked(counts=s.ranked, purpose=f"ranked, seed {seed}"))
        ranked = annotate(chat, to_rank, world=tiny.world, sampling=sampling)
        judge = train_reward(base, (ranked,), settings=replace(tiny.reward, seed=seed))
        prompts = ask(world=tiny.world, asked=Asked(counts=s.prompts, purpose=f"prompts, seed {seed}"))
        best = select(judge, chat, prompts, settings=SelectSettings(sampling=sampling, tries=s.tries, gold=gold))
        better = sft(base, (shown, best), settings=replace(tiny.sft, seed=seed))
        scores += [measured(chat, data.tokens, f"SFT {seed}", tiny), measured(better, data.tokens, f"RS {seed}", tiny)]
        for name, way in s.ways.items():
            moved = dpo(better, (ranked,), settings=replace(way, seed=seed))
            tuned.append((name, moved))
            scores.append(measured(moved, data.tokens, f"{name} {seed}", tiny))
        judges.append(judge)
        chosen.append(best)
    labels = {name: tuple(f"{name} {seed}" for seed in s.seeds) for name in ("SFT", "RS", *s.ways)}
    steps = Steps(
        base="base",
        steps={name: labels[name] for name in ("SFT", "RS", s.last)},
        ways={name: labels[name] for name in s.ways},
        task=s.task,
    )
    in_order = tuple(model for name in s.ways for own, model in tuned if own == name)
    table = compare_steps(tuple(scores), tuple(judges), tuple(chosen), in_order, steps=steps)
    return write_report(tuple(scores), (table,), title=s.title, bars=Bars())
