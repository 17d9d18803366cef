"""Critiques before scores: a critic that learns from critiques, and what it says of answers (notes, critiques).

A reward model of criticized answers is `train_reward` on what `add_critiques` makes, best on top of the critic, whose
weights know what a good answer is. Source: Ye et al. 2024 (Improving Reward Models with Synthetic Critiques), and
Ankner et al. 2024 (Critique-out-Loud Reward Models), who let the reward model learn from the critic's own critiques,
not from those the critic learnt from. Differs from the latter: critic and reward model are two.
"""

from __future__ import annotations

from dataclasses import replace

from herd.align.given import written
from herd.core.artifacts import Checkpoint, Dialogues, Preferences
from herd.core.records import Conversation, Preference
from herd.core.settings import Positive
from herd.core.stage import Work, stage
from herd.core.storage import read_preferences, write_preferences
from herd.judge.critic import Critic, criticized


@stage(paper="-", version=1)
def critic_dialogues(work: Work, preferences: tuple[Preferences, ...]) -> Dialogues:
    """Criticized answers as what a critic learns: the critique, and nothing else."""
    found: list[Conversation] = []
    for each in preferences:
        for one in read_preferences(each.path):
            for answer in one.ranked:
                said = one.prompt.then(*answer)
                heard = tuple(replace(message, learn=False) for message in said.messages[:-1])
                found.append(replace(said, messages=(*heard, said.last), source="critique"))
    return written(work, found, f"{len(found):,} critiques to learn from")


@stage(paper="-", version=1)
def add_critiques(
    work: Work, critic: Checkpoint, preferences: tuple[Preferences, ...], *, max_tokens: Positive = 128
) -> Preferences:
    """The ranked answers, each followed by what `critic` says of it; those too long for it are left out and counted."""
    given = [one for each in preferences for one in read_preferences(each.path)]
    answered = [one.prompt.then(*answer) for one in given for answer in one.ranked]
    said = iter(Critic(critic, max_tokens=max_tokens).read(answered, workers=work.place.workers, report=work.progress))
    found: list[Preference] = []
    for one in given:
        words = [next(said) for _ in one.ranked]
        if None not in words:
            in_order = iter(words)
            found.append(criticized(one, lambda _, words=in_order: next(words) or ""))
    write_preferences(work.out, found)
    work.figure("pairs", len(found))
    work.figure("left_out", {"too long": len(given) - len(found)})
    work.figure("headline", f"{len(found):,} ranked answers criticized by the model")
    return Preferences(work.out)
