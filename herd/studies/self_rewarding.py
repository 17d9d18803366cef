"""Can a model that criticizes teach itself?"""

from __future__ import annotations

from herd.align.critiques import critic_dialogues, examine_critics, self_ranked
from herd.align.dpo import DpoSettings, dpo
from herd.align.rounds import choose
from herd.align.sft import SftSettings, sft
from herd.core.artifacts import Report
from herd.core.settings import Count, Positive, settings
from herd.recipes.tiny import Ground
from herd.report.stages import write_report
from herd.report.verdicts import Bars
from herd.studies import studies
from herd.world import NOTE
from herd.world.annotators import Asked, annotate, ask, criticize, examine


@settings
class SelfRewardingSettings:
    """of: a recipe, whose base model, world, demonstrations and sampling are taken. ranked: prompts whose answers
    people rank and criticize, before the first round and never again; tested: others, by which critics are examined.
    prompts, tries: of every round; critiques: of every answer. first: how the model learns to answer and to criticize.
    examined: held-out prompts."""

    title: str
    of: str
    ranked: dict[str, Count]
    tested: dict[str, Count]
    prompts: dict[str, Count]
    tries: Positive
    critiques: Positive
    rounds: Positive
    first: SftSettings
    dpo: DpoSettings
    examined: dict[str, Count]


@studies.add
def self_rewarding(s: SelfRewardingSettings) -> Report:
    """A model taught to answer and to criticize; then rounds of DPO on its own answers by its own judgement."""
    ground = Ground.of(s.of)
    tiny, base, world, gold = ground.numbers, ground.base, ground.numbers.world, ground.gold
    shown = ground.shown(tiny.demonstrations, tiny.curt_share)
    chat = sft(base, (shown,), settings=tiny.sft)
    ranked, tested = (
        annotate(
            (chat,), ask(world=world, asked=Asked(counts=counts, purpose=purpose)), world=world, sampling=tiny.sampling
        )
        for counts, purpose in ((s.ranked, "ranked"), (s.tested, "tested"))
    )
    lessons = critic_dialogues((criticize((ranked,), world=world),))
    models = [sft(chat, (shown, lessons), settings=s.first)]
    for number in range(1, s.rounds + 1):
        prompts = ask(world=world, asked=Asked(counts=s.prompts, purpose=f"prompts {number}"))
        own = self_ranked(models[-1], prompts, sampling=tiny.sampling, tries=s.tries, critiques=s.critiques)
        models.append(dpo(models[-1], (own,), settings=s.dpo))
    best = choose(tuple(models), examine(world=world, counts=s.examined), right=gold)
    judged = examine_critics(tuple(models), (tested,))
    return write_report((), (best, judged), title=s.title, bars=Bars(), note=NOTE)
