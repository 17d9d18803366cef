"""What does each step of alignment gain, and what does each part of the preference loss do?"""

from __future__ import annotations

from dataclasses import replace

from herd.align.average import average
from herd.align.comparing import Steps, compare_steps
from herd.align.critiques import add_critiques, critic_dialogues
from herd.align.dpo import DpoSettings, dpo
from herd.align.reward import RewardSettings, train_reward
from herd.align.select import SelectSettings, select
from herd.align.sft import SftSettings, sft
from herd.core.artifacts import Checkpoint, Dialogues, Preferences, Report
from herd.core.settings import Count, Positive, settings
from herd.generate.engine import SamplingParams
from herd.recipes.tiny import Ground, measured
from herd.report.stages import write_report
from herd.report.verdicts import Bars
from herd.studies import studies
from herd.world import NOTE
from herd.world.annotators import Asked, annotate, ask, criticize


@settings
class AlignmentSettings:
    """of: a recipe, whose base model, world and numbers are taken. few, more: prompts whose answers people rank, from
    all of which models learn. fewest: others, from which alone the last two judges and their critic learn. tested:
    others, whose ranked answers test the judges. prompts: as in a round of it. tries: answers a prompt. members: fine-
    tunings of which a mean is a seed's model, by what is `apart`, demonstrations that nothing is learnt from: one alone
    may fall far behind. critic: how one learns, after the chat model. ways: of learning from the same preferences;
    `last` is the one that counts as a step."""

    title: str
    of: str
    few: dict[str, Count]
    more: dict[str, Count]
    fewest: dict[str, Count]
    tested: dict[str, Count]
    prompts: dict[str, Count]
    tries: Positive
    members: Positive
    apart: dict[str, Count]
    reward: RewardSettings
    critic: SftSettings
    ways: dict[str, DpoSettings]
    last: str
    task: str
    seeds: tuple[int, ...] = (0, 1, 2)


# Without critiques; trained on the critic's own, by which criticized ones are tested; trained on people's. Then the
# first two again from few pairs, with a critic that learnt from no more.
_JUDGES = ("plain", "after critiques", "after people's critiques", "plain, few pairs", "after critiques, few pairs")


@studies.add
def alignment(s: AlignmentSettings) -> Report:
    """One round over several seeds: SFT, rejection sampling and preferences, each beside the step before."""
    ground = Ground.of(s.of)
    tiny, tokens, base, gold = ground.numbers, ground.tokens, ground.base, ground.gold
    shown = ground.shown(tiny.demonstrations, tiny.curt_share)
    apart = ground.shown(s.apart, 0.0, "apart")
    scores = [measured(base, tokens, "base", tiny)]
    judges: dict[str, list[Checkpoint]] = {name: [] for name in _JUDGES}
    chosen: dict[str, list[Dialogues]] = {name: [] for name in _JUDGES[:2]}
    tuned: list[tuple[str, Checkpoint]] = []
    for seed in s.seeds:
        sampling = replace(tiny.sampling, seed=seed)
        tunings = tuple(replace(tiny.sft, seed=seed * s.members + member) for member in range(s.members))
        chat = average(tuple(sft(base, (shown,), settings=one) for one in tunings), apart)

        def people(counts: dict[str, int], purpose: str, chat: Checkpoint, sampling: SamplingParams) -> Preferences:
            asked = ask(world=tiny.world, asked=Asked(counts=counts, purpose=purpose))
            return annotate((chat,), asked, world=tiny.world, sampling=sampling)

        few, more, fewest, tested = (
            people(counts, f"{purpose}, seed {seed}", chat, sampling)
            for purpose, counts in (("few", s.few), ("more", s.more), ("fewest", s.fewest), ("tested", s.tested))
        )
        criticized = criticize((few, more), world=tiny.world)
        critic = sft(chat, (shown, critic_dialogues((criticized,))), settings=replace(s.critic, seed=seed))
        own_few, own_more, own_tested = (add_critiques(critic, (one,)) for one in (few, more, tested))
        # From few pairs all that is learnt: the critic too.
        first = critic_dialogues((criticize((fewest,), world=tiny.world),))
        small = sft(chat, (shown, first), settings=replace(s.critic, seed=seed))
        small_fewest, small_tested = (add_critiques(small, (one,)) for one in (fewest, tested))
        learnt = (
            (base, (few, more), tested),
            (critic, (own_few, own_more), own_tested),
            (critic, (criticized,), own_tested),
            (base, (fewest,), tested),
            (small, (small_fewest,), small_tested),
        )
        for name, (model, given, held_out) in zip(_JUDGES, learnt, strict=True):
            judges[name].append(train_reward(model, given, held_out, settings=replace(s.reward, seed=seed)))
        prompts = ask(world=tiny.world, asked=Asked(counts=s.prompts, purpose=f"prompts, seed {seed}"))
        choose = SelectSettings(sampling=sampling, tries=s.tries, gold=gold)
        chosen["plain"].append(select(judges["plain"][-1], chat, prompts, settings=choose))
        best = select(judges["after critiques"][-1], chat, prompts, critic, settings=choose)
        chosen["after critiques"].append(best)
        better = average(tuple(sft(base, (shown, best), settings=one) for one in tunings), apart)
        scores += [measured(chat, tokens, f"SFT {seed}", tiny), measured(better, tokens, f"RS {seed}", tiny)]
        for name, way in s.ways.items():
            moved = dpo(better, (few, more), settings=replace(way, seed=seed))
            tuned.append((name, moved))
            scores.append(measured(moved, tokens, f"{name} {seed}", tiny))
    labels = {name: tuple(f"{name} {seed}" for seed in s.seeds) for name in ("SFT", "RS", *s.ways)}
    steps = Steps(
        base="base",
        steps={name: labels[name] for name in ("SFT", "RS", s.last)},
        ways={name: labels[name] for name in s.ways},
        judges=_JUDGES,
        task=s.task,
    )
    in_order = tuple(model for name in s.ways for own, model in tuned if own == name)
    all_judges = tuple(one for name in _JUDGES for one in judges[name])
    all_chosen = tuple(one for some in chosen.values() for one in some)
    table = compare_steps(tuple(scores), all_judges, all_chosen, in_order, steps=steps)
    return write_report(tuple(scores), (table,), title=s.title, bars=Bars(), note=NOTE)
