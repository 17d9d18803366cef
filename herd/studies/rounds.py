"""Does a model get better with every round of alignment?"""

from __future__ import annotations

from dataclasses import replace

from herd.align.average import average
from herd.align.dpo import DpoSettings, dpo
from herd.align.reward import RewardSettings, train_reward
from herd.align.rounds import choose
from herd.align.select import SelectSettings, select
from herd.align.sft import SftSettings, sft
from herd.core.artifacts import Checkpoint, Dialogues, Preferences, Report
from herd.core.settings import Count, Positive, Share, settings
from herd.recipes.tiny import Ground
from herd.report.stages import write_report
from herd.report.verdicts import Bars
from herd.studies import studies
from herd.world import NOTE
from herd.world.annotators import Asked, annotate, ask, examine


@settings
class RoundsSettings:
    """of: a recipe, whose base model, world and sampling are taken. demonstrations, curt_share: what people show,
    before the first round and never again. ranked, prompts, tries: of every round. verified: whether only answers the
    world finds right are kept, of which the reward model takes the best; else it takes the best of all, and nothing
    that knows the world has a hand in what is learnt. latest: rounds whose ranked answers DPO learns from; a reward
    model learns from all. seeds: of the fine-tunings, and of the DPO runs; apart: demonstrations that nothing is learnt
    from, by whose loss the best of these, or the mean of some, is taken to go on with. rounds: how many. examined:
    held-out prompts that rounds are compared by, where alone the world says what is right."""

    title: str
    of: str
    demonstrations: dict[str, Count]
    curt_share: Share
    ranked: dict[str, Count]
    prompts: dict[str, Count]
    tries: Positive
    verified: bool
    latest: Positive
    apart: dict[str, Count]
    rounds: Positive
    examined: dict[str, Count]
    reward: RewardSettings
    sft: SftSettings
    dpo: DpoSettings
    seeds: tuple[int, ...] = (0, 1, 2)


@studies.add
def rounds(s: RoundsSettings) -> Report:
    """Rounds of ranked answers, rejection sampling, SFT from the base model, DPO and averaging, each from what the
    round before answers; all that was collected stays."""
    ground = Ground.of(s.of)
    tiny, base, world, gold = ground.numbers, ground.base, ground.numbers.world, ground.gold
    shown = ground.shown(s.demonstrations, s.curt_share)
    apart = ground.shown(s.apart, 0.0, "apart")
    chat = sft(base, (shown,), settings=s.sft)

    models: list[Checkpoint] = []
    preferences: tuple[Preferences, ...] = ()
    kept: tuple[Dialogues, ...] = (shown,)
    for number in range(1, s.rounds + 1):
        to_rank = ask(world=world, asked=Asked(counts=s.ranked, purpose=f"ranked {number}"))
        preferences += (annotate((chat, *models[-2:-1]), to_rank, world=world, sampling=tiny.sampling),)
        judge = train_reward(base, preferences, settings=s.reward)
        prompts = ask(world=world, asked=Asked(counts=s.prompts, purpose=f"prompts {number}"))
        verify = gold if s.verified else None
        choosing = SelectSettings(sampling=tiny.sampling, tries=s.tries, verify=verify, gold=gold)
        kept += (select(judge, chat, prompts, settings=choosing),)
        tuned = average(tuple(sft(base, kept, settings=replace(s.sft, seed=seed)) for seed in s.seeds), apart)
        late = preferences[-s.latest :]
        chat = average(tuple(dpo(tuned, late, settings=replace(s.dpo, seed=seed)) for seed in s.seeds), apart)
        models.append(chat)
    best = choose(tuple(models), examine(world=world, counts=s.examined), right=gold)
    return write_report((), (best,), title=s.title, bars=Bars(), note=NOTE)
