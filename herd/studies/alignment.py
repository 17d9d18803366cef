"""What does each step of alignment gain, and what does each part of the preference loss do?"""

from __future__ import annotations

import itertools
from dataclasses import replace

from herd.align.average import average_models
from herd.align.comparing import StepLabels, compare_steps
from herd.align.critiques import add_critiques, critic_dialogues
from herd.align.dpo import DpoSettings, dpo
from herd.align.rejection_sampling import RejectionSamplingSettings, rejection_sample
from herd.align.reward import RewardSettings, train_reward
from herd.align.sft import SftSettings, sft
from herd.core.artifacts import Checkpoint, Dialogues, Preferences, Report
from herd.core.settings import NonNegativeInt, PositiveInt, settings
from herd.generate.engine import SamplingParams
from herd.recipes.tiny import AlignmentBase, measure_model
from herd.report.stages import write_report
from herd.report.verdicts import Criteria
from herd.studies import studies
from herd.studies.translation import seed_labels
from herd.world import NOTE
from herd.world.annotators import QuestionSet, annotate, criticize, draw_prompts


@settings
class AlignmentSettings:
    """of: a recipe, whose base model, world and numbers are taken. ranked_few, ranked_more: prompts whose answers
    people rank, from all of which models learn. ranked_fewest: others, from which alone the last two judges and their
    critic learn. tested: others, whose ranked answers test the judges. prompts: as in a round of it. num_samples:
    answers a prompt. members: fine- tunings of which a mean is a seed's model, by what is `apart`, demonstrations that
    nothing is learnt from: one alone may fall far behind. critic: how one learns, after the chat model. methods: of
    learning from the same preferences; `last` is the one that counts as a step."""

    title: str
    of: str
    ranked_few: dict[str, NonNegativeInt]
    ranked_more: dict[str, NonNegativeInt]
    ranked_fewest: dict[str, NonNegativeInt]
    tested: dict[str, NonNegativeInt]
    prompts: dict[str, NonNegativeInt]
    num_samples: PositiveInt
    members: PositiveInt
    apart: dict[str, NonNegativeInt]
    reward: RewardSettings
    critic: SftSettings
    methods: dict[str, DpoSettings]
    last: str
    task: str
    seeds: tuple[int, ...] = (0, 1, 2)


# Without critiques; trained on the critic's own, by which criticized ones are tested; trained on people's. Then the
# first two again from few pairs, with a critic that learnt from no more.
_JUDGES = ("plain", "after critiques", "after people's critiques", "plain, few pairs", "after critiques, few pairs")


@studies.add
def alignment(s: AlignmentSettings) -> Report:
    """One round over several seeds: SFT, rejection sampling and preferences, each beside the step before."""
    ground = AlignmentBase.of(s.of)
    tiny, tokens, base, gold = ground.numbers, ground.tokens, ground.base, ground.gold
    demonstrations = ground.demonstrations(tiny.demonstrations)
    apart = ground.demonstrations(s.apart, 0.0, "apart")
    replayed = tokens if tiny.sft.replay else None
    scores = [measure_model(base, tokens, "base", tiny)]
    judges: dict[str, list[Checkpoint]] = {name: [] for name in _JUDGES}
    chosen: dict[str, list[Dialogues]] = {name: [] for name in _JUDGES[:2]}
    tuned: dict[str, list[Checkpoint]] = {name: [] for name in s.methods}
    for seed in s.seeds:
        sampling = replace(tiny.sampling, seed=seed)
        tunings = tuple(replace(tiny.sft, seed=seed * s.members + member) for member in range(s.members))
        chat = average_models(
            tuple(sft(base, (demonstrations,), replayed, settings=tuning) for tuning in tunings), apart
        )

        def rank_answers(
            counts: dict[str, int], purpose: str, chat: Checkpoint, sampling: SamplingParams
        ) -> Preferences:
            prompts = draw_prompts(world=tiny.world, questions=QuestionSet(counts=counts, purpose=purpose))
            return annotate((chat,), prompts, world=tiny.world, sampling=sampling)

        ranked_few, ranked_more, ranked_fewest, tested = (
            rank_answers(counts, f"{purpose}, seed {seed}", chat, sampling)
            for purpose, counts in (
                ("few", s.ranked_few),
                ("more", s.ranked_more),
                ("fewest", s.ranked_fewest),
                ("tested", s.tested),
            )
        )
        criticized = criticize((ranked_few, ranked_more), world=tiny.world)
        critic = sft(chat, (demonstrations, critic_dialogues((criticized,))), settings=replace(s.critic, seed=seed))
        own_few, own_more, own_tested = (
            add_critiques(critic, (preferences,)) for preferences in (ranked_few, ranked_more, tested)
        )
        # From few pairs all that is learnt: the critic too.
        first = critic_dialogues((criticize((ranked_fewest,), world=tiny.world),))
        small = sft(chat, (demonstrations, first), settings=replace(s.critic, seed=seed))
        small_fewest, small_tested = (add_critiques(small, (preferences,)) for preferences in (ranked_fewest, tested))
        learnt = (
            (base, (ranked_few, ranked_more), tested),
            (critic, (own_few, own_more), own_tested),
            (critic, (criticized,), own_tested),
            (base, (ranked_fewest,), tested),
            (small, (small_fewest,), small_tested),
        )
        for name, (model, train_preferences, held_out) in zip(_JUDGES, learnt, strict=True):
            judges[name].append(train_reward(model, train_preferences, held_out, settings=replace(s.reward, seed=seed)))
        prompts = draw_prompts(
            world=tiny.world, questions=QuestionSet(counts=s.prompts, purpose=f"prompts, seed {seed}")
        )
        selection = RejectionSamplingSettings(sampling=sampling, num_samples=s.num_samples, gold_verifier=gold)
        chosen["plain"].append(rejection_sample(judges["plain"][-1], chat, prompts, settings=selection))
        best = rejection_sample(judges["after critiques"][-1], chat, prompts, critic, settings=selection)
        chosen["after critiques"].append(best)
        better = average_models(
            tuple(sft(base, (demonstrations, best), replayed, settings=tuning) for tuning in tunings), apart
        )
        scores += [measure_model(chat, tokens, f"SFT {seed}", tiny), measure_model(better, tokens, f"RS {seed}", tiny)]
        for name, method in s.methods.items():
            moved = dpo(better, (ranked_few, ranked_more), settings=replace(method, seed=seed))
            tuned[name].append(moved)
            scores.append(measure_model(moved, tokens, f"{name} {seed}", tiny))
    labels = {name: seed_labels(name, s.seeds) for name in ("SFT", "RS", *s.methods)}
    steps = StepLabels(
        base="base",
        steps={name: labels[name] for name in ("SFT", "RS", s.last)},
        methods={name: labels[name] for name in s.methods},
        judges=_JUDGES,
        task=s.task,
    )
    all_judges = tuple(itertools.chain.from_iterable(judges.values()))
    all_chosen = tuple(itertools.chain.from_iterable(chosen.values()))
    all_tuned = tuple(itertools.chain.from_iterable(tuned.values()))
    table = compare_steps(tuple(scores), all_judges, all_chosen, all_tuned, steps=steps)
    return write_report(tuple(scores), (table,), title=s.title, criteria=Criteria(), note=NOTE)
