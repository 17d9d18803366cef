"""Does a model get better with every round of alignment?"""

from __future__ import annotations

from dataclasses import replace

from herd.align.average import average_models
from herd.align.dpo import DpoSettings, dpo
from herd.align.model_selection import select_best_model
from herd.align.rejection_sampling import RejectionSamplingSettings, rejection_sample
from herd.align.reward import RewardSettings, train_reward
from herd.align.sft import SftSettings, sft
from herd.core.artifacts import Checkpoint, Dialogues, Preferences, Report
from herd.core.settings import NonNegativeInt, PositiveInt, Share, settings
from herd.recipes.tiny import AlignmentBase
from herd.report.stages import write_report
from herd.report.verdicts import Criteria
from herd.studies import studies
from herd.world import NOTE
from herd.world.annotators import QuestionSet, annotate, draw_prompts, heldout_prompts


@settings
class RoundsSettings:
    """of: a recipe, whose base model, world and sampling are taken. demonstrations, curt_share: what people show,
    before the first round and never again. ranked, prompts, num_samples: of every round. verified: whether only answers
    the world finds right are kept, of which the reward model takes the best; else it takes the best of all, and nothing
    that knows the world has a hand in what is learnt. latest: rounds whose ranked answers DPO learns from; a reward
    model learns from all. seeds: of the fine-tunings, and of the DPO runs; apart: demonstrations that nothing is learnt
    from, by whose loss the best of these, or the mean of some, is taken to go on with. rounds: how many. examined:
    held-out prompts that rounds are compared by, where alone the world says what is right."""

    title: str
    of: str
    demonstrations: dict[str, NonNegativeInt]
    curt_share: Share
    ranked: dict[str, NonNegativeInt]
    prompts: dict[str, NonNegativeInt]
    num_samples: PositiveInt
    verified: bool
    latest: PositiveInt
    apart: dict[str, NonNegativeInt]
    rounds: PositiveInt
    examined: dict[str, NonNegativeInt]
    reward: RewardSettings
    sft: SftSettings
    dpo: DpoSettings
    seeds: tuple[int, ...] = (0, 1, 2)


@studies.add
def rounds(s: RoundsSettings) -> Report:
    """Rounds of ranked answers, rejection sampling, SFT from the base model, DPO and averaging, each from what the
    round before answers; all that was collected stays."""
    ground = AlignmentBase.of(s.of)
    tiny, base, world, gold = ground.numbers, ground.base, ground.numbers.world, ground.gold
    demonstrations = ground.demonstrations(s.demonstrations, s.curt_share)
    apart = ground.demonstrations(s.apart, 0.0, "apart")
    chat = sft(base, (demonstrations,), settings=s.sft)

    models: list[Checkpoint] = []
    preferences: tuple[Preferences, ...] = ()
    best_answers: tuple[Dialogues, ...] = (demonstrations,)
    for number in range(1, s.rounds + 1):
        to_rank = draw_prompts(world=world, questions=QuestionSet(counts=s.ranked, purpose=f"ranked {number}"))
        preferences += (annotate((chat, *models[-2:-1]), to_rank, world=world, sampling=tiny.sampling),)
        judge = train_reward(base, preferences, settings=s.reward)
        prompts = draw_prompts(world=world, questions=QuestionSet(counts=s.prompts, purpose=f"prompts {number}"))
        verifier = gold if s.verified else None
        selection = RejectionSamplingSettings(
            sampling=tiny.sampling, num_samples=s.num_samples, verifier=verifier, gold_verifier=gold
        )
        best_answers += (rejection_sample(judge, chat, prompts, settings=selection),)
        tuned = average_models(
            tuple(sft(base, best_answers, settings=replace(s.sft, seed=seed)) for seed in s.seeds), apart
        )
        late = preferences[-s.latest :]
        chat = average_models(tuple(dpo(tuned, late, settings=replace(s.dpo, seed=seed)) for seed in s.seeds), apart)
        models.append(chat)
    best = select_best_model(tuple(models), heldout_prompts(world=world, counts=s.examined), verifier=gold)
    return write_report((), (best,), title=s.title, criteria=Criteria(), note=NOTE)
