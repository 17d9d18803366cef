"""Critiques before scores: a critic that learns from critiques, and what it says of answers (notes, critiques).

A reward model of criticized answers is `train_reward` on what `add_critiques` makes, best on top of the critic, whose
weights know what a good answer is. Source: Ye et al. 2024 (Improving Reward Models with Synthetic Critiques), and
Ankner et al. 2024 (Critique-out-Loud Reward Models), who let the reward model learn from the critic's own critiques,
not from those the critic learnt from. Differs from the latter: critic and reward model are two.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

from herd.align.given import written
from herd.align.results import CriticScores, PreferenceCount, SelfRanking
from herd.align.select import Answer, SelectSettings, answer_all, askable
from herd.core.artifacts import Checkpoint, Dialogues, Preferences, Scores
from herd.core.records import Conversation, Message, Preference
from herd.core.settings import Positive
from herd.core.stage import Work, stage
from herd.core.storage import read_preferences, write_preferences
from herd.evals.spread import Interval, bootstrap_mean
from herd.generate.engine import SamplingParams
from herd.judge.critic import ASK, Critic, criticized
from herd.model.config import shape_in
from herd.tokens.jinja import chat_format
from herd.tokens.tokenizer import TextTokenizer


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


@stage(paper="-", version=1, gpu=True)
def add_critiques(
    work: Work, critic: Checkpoint, preferences: tuple[Preferences, ...], *, max_tokens: Positive = 128
) -> Preferences:
    """The ranked answers, each followed by what `critic` says of it; those too long for it are left out and counted."""
    given = [one for each in preferences for one in read_preferences(each.path)]
    answered = [one.prompt.then(*answer) for one in given for answer in one.ranked]
    said = iter(
        Critic(critic, work.device, work.dtype, max_tokens=max_tokens).read(
            answered, workers=work.place.workers, report=work.progress
        )
    )
    found: list[Preference] = []
    for one in given:
        words = [next(said) for _ in one.ranked]
        if None not in words:
            in_order = iter(words)
            found.append(criticized(one, lambda _, words=in_order: next(words) or ""))
    write_preferences(work.out, found)
    work.record(PreferenceCount(len(found), left_out={"too long": len(given) - len(found)}))
    work.headline = f"{len(found):,} ranked answers criticized by the model"
    return Preferences(work.out)


@stage(paper="-", version=2, gpu=True)
def self_ranked(
    work: Work,
    model: Checkpoint,
    prompts: Dialogues,
    *,
    sampling: SamplingParams,
    tries: Positive = 4,
    critiques: Positive = 3,
    good: str = "It is right.",
) -> Preferences:
    """Answers of a model that criticizes, ranked by itself: of each prompt the one it gave most often and likes, over
    the one it gave most often and does not. And its critiques of one answer, where they disagree: one with the verdict
    of most over one with the verdict of fewest.

    good: how its critique of an answer it likes ends. It likes an answer when most of its `critiques` do. Prompts of
    which it likes all answers, or none, are left out and counted. Source: Yuan et al. 2024 (Self-Rewarding Language
    Models), who draw three judgements; Wu et al. 2024 (Meta-Rewarding Language Models), who rank judgements too.
    Differs: a verdict in the place of points from 0 to 5, which models this small cannot tell apart, and a majority in
    the place of a judge of judgements.
    """
    text = TextTokenizer.load(model.path)
    form = chat_format(text)
    asked, left_out = askable(prompts, form, shape_in(model.path).context, ())
    answer_all(work, asked, model, text, form, SelectSettings(sampling=sampling, tries=tries))
    said = [one.prompt.then(answer.message) for one in asked for answer in one.answers]

    def report(done: int, total: int) -> None:
        work.progress(done, total, "critiques")

    heard = Critic(model, work.device, work.dtype).draw(
        said, critiques, sampling, workers=work.place.workers, report=report
    )
    likes = iter(sum(liked(one, good)) > len(one) / 2 for one in heard)
    answers: list[Preference] = []
    lengths: list[tuple[int, int]] = []
    for one in asked:
        sides: dict[bool, list[Answer]] = {True: [], False: []}
        for answer in one.answers:
            sides[next(likes)].append(answer)
        if not sides[True] or not sides[False]:
            left_out["it likes none of its answers" if not sides[True] else "it likes all of its answers"] += 1
            continue
        chosen, rejected = (max(sides[side], key=lambda answer: answer.times) for side in (True, False))
        lengths.append((chosen.tokens, rejected.tokens))
        answers.append(Preference(prompt=one.prompt, chosen=(chosen.message,), rejected=(rejected.message,)))
    judgements = [found for one, words in zip(said, heard, strict=True) if (found := _judged(one, words, good))]
    write_preferences(work.out, [*answers, *judgements])
    work.record(PreferenceCount(len(answers), left_out=dict(left_out)))
    longer = [sum(side) / max(1, len(lengths)) for side in zip(*lengths, strict=True)] if lengths else [0.0, 0.0]
    work.record(SelfRanking(len(judgements), chosen_tokens=longer[0], rejected_tokens=longer[1]))
    work.headline = (
        f"{len(answers):,} pairs by its own judgement, {longer[0]:.1f} tokens chosen, {longer[1]:.1f} rejected; "
        f"{len(judgements):,} of judgements"
    )
    return Preferences(work.out)


def _judged(answered: Conversation, critiques: Sequence[str], good: str) -> Preference | None:
    """The critique written most often with the verdict of most, over the one with the verdict of fewest; None where all
    agree, or as many like the answer as do not."""
    verdicts = liked(critiques, good)
    if 2 * sum(verdicts) in (0, len(verdicts), 2 * len(verdicts)):
        return None
    most = 2 * sum(verdicts) > len(verdicts)
    sides = (
        Counter(words for words, like in zip(critiques, verdicts, strict=True) if like == side).most_common(1)[0][0]
        for side in (most, not most)
    )
    chosen, rejected = ((Message("assistant", words),) for words in sides)
    return Preference(prompt=answered.then(ASK), chosen=chosen, rejected=rejected)


def liked(critiques: Sequence[str | None], good: str) -> list[bool]:
    """Whether each critique ends as one of an answer that is liked."""
    return [one is not None and one.strip().endswith(good) for one in critiques]


@stage(paper="-", version=1, gpu=True)
def examine_critics(
    work: Work, critics: tuple[Checkpoint, ...], preferences: tuple[Preferences, ...], *, good: str = "It is right."
) -> Scores:
    """How often each critic likes the better answer of a pair and not the worse; pairs of which it likes both or
    neither count half."""
    given = [one for each in preferences for one in read_preferences(each.path)]
    pairs = [(one.prompt.then(*one.ranked[0]), one.prompt.then(*one.ranked[-1])) for one in given]
    shares: list[Interval] = []
    for number, critic in enumerate(critics):
        work.progress(number, len(critics), "critics")
        said = Critic(critic, work.device, work.dtype).read(
            [answer for pair in pairs for answer in pair], workers=work.place.workers
        )
        likes = liked(said, good)
        points = [(1 + better - worse) / 2 for better, worse in zip(likes[::2], likes[1::2], strict=True)]
        shares.append(bootstrap_mean(points))
    work.record(CriticScores(tuple(shares)))
    work.headline = "pairs judged right: " + ", ".join(f"{share.value:.0%}" for share in shares)
    return Scores(work.out)
