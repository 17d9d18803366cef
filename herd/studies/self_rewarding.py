"""Can a model that criticizes teach itself?"""

from __future__ import annotations

from herd.align.critiques import critic_dialogues, evaluate_critics, rank_own_answers
from herd.align.dpo import DpoSettings, dpo
from herd.align.model_selection import select_best_model
from herd.align.sft import SftSettings, sft
from herd.core.artifacts import Report
from herd.core.settings import NonNegativeInt, PositiveInt, settings
from herd.recipes.tiny import AlignmentBase
from herd.report.stages import write_report
from herd.report.verdicts import Criteria
from herd.studies import studies
from herd.world import NOTE
from herd.world.annotators import QuestionSet, annotate, criticize, draw_prompts, heldout_prompts


@settings
class SelfRewardingSettings:
    """of: a recipe, whose base model, world, demonstrations and sampling are taken. ranked: prompts whose answers
    people rank and criticize, before the first round and never again; tested: others, by which critics are examined.
    prompts, num_samples: of every round; critiques: of every answer. first: how the model learns to answer and to
    criticize. examined: held-out prompts."""

    title: str
    of: str
    ranked: dict[str, NonNegativeInt]
    tested: dict[str, NonNegativeInt]
    prompts: dict[str, NonNegativeInt]
    num_samples: PositiveInt
    critiques: PositiveInt
    rounds: PositiveInt
    first: SftSettings
    dpo: DpoSettings
    examined: dict[str, NonNegativeInt]


@studies.add
def self_rewarding(s: SelfRewardingSettings) -> Report:
    """A model taught to answer and to criticize; then rounds of DPO on its own answers by its own judgement."""
    ground = AlignmentBase.of(s.of)
    tiny, base, world, gold = ground.numbers, ground.base, ground.numbers.world, ground.gold
    demonstrations = ground.demonstrations(tiny.demonstrations)
    chat = sft(base, (demonstrations,), ground.tokens if tiny.sft.replay else None, settings=tiny.sft)
    ranked, tested = (
        annotate(
            (chat,),
            draw_prompts(world=world, questions=QuestionSet(counts=counts, purpose=purpose)),
            world=world,
            sampling=tiny.sampling,
        )
        for counts, purpose in ((s.ranked, "ranked"), (s.tested, "tested"))
    )
    lessons = critic_dialogues((criticize((ranked,), world=world),))
    models = [sft(chat, (demonstrations, lessons), settings=s.first)]
    for number in range(1, s.rounds + 1):
        prompts = draw_prompts(world=world, questions=QuestionSet(counts=s.prompts, purpose=f"prompts {number}"))
        own = rank_own_answers(
            models[-1], prompts, sampling=tiny.sampling, num_samples=s.num_samples, critiques=s.critiques
        )
        models.append(dpo(models[-1], (own,), settings=s.dpo))
    best = select_best_model(tuple(models), heldout_prompts(world=world, counts=s.examined), verifier=gold)
    judged = evaluate_critics(tuple(models), (tested,))
    return write_report((), (best, judged), title=s.title, criteria=Criteria(), note=NOTE)
