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
from itertools import chain

from herd.align.loading import read_rankings, write_dialogues
from herd.align.rejection_sampling import Candidate, RejectionSamplingSettings, answer_all, answerable_prompts
from herd.align.results import CriticScores, PreferenceCount, SelfRanking
from herd.core.artifacts import Checkpoint, Dialogues, Preferences, Scores
from herd.core.records import Conversation, Message, Preference
from herd.core.settings import PositiveInt
from herd.core.stage import Work, stage
from herd.core.storage import read_preferences, write_preferences
from herd.evals.intervals import Interval, bootstrap_mean
from herd.generate.engine import SamplingParams
from herd.judge.critic import ASK, Critic, criticize_answers
from herd.model.collectives import RankGroup
from herd.model.config import read_shape
from herd.tokens.jinja import chat_template_of
from herd.tokens.tokenizer import TextTokenizer


@stage(paper="-", version=1)
def critic_dialogues(work: Work, preferences: tuple[Preferences, ...]) -> Dialogues:
    """Criticized answers as what a critic learns: the critique, and nothing else."""
    dialogues: list[Conversation] = []
    for artifact in preferences:
        for preference in read_preferences(artifact.path):
            for conversation in _answered(preference):
                context_messages = tuple(replace(message, train=False) for message in conversation.messages[:-1])
                dialogues.append(
                    replace(conversation, messages=(*context_messages, conversation.last), source="critique")
                )
    return write_dialogues(work, dialogues, f"{len(dialogues):,} critiques to learn from")


def _answered(preference: Preference) -> list[Conversation]:
    """The prompt with each of its answers, best first."""
    return [preference.prompt.with_messages(*answer) for answer in preference.ranked_answers]


@stage(paper="-", version=1, gpu=True, data_parallel=True)
def add_critiques(
    work: Work, critic: Checkpoint, preferences: tuple[Preferences, ...], *, max_tokens: PositiveInt = 128
) -> Preferences:
    """The ranked answers, each followed by what `critic` says of it; those too long for it are left out and counted."""
    pairs = read_rankings(preferences)
    conversations = list(chain.from_iterable(map(_answered, pairs)))
    critiques = iter(
        Critic(critic, work.device, work.dtype, max_tokens=max_tokens, ranks=RankGroup.of(work)).criticize(
            conversations, workers=work.executor.workers, report=work.progress
        )
    )
    criticized_pairs: list[Preference] = []
    for pair in pairs:
        words = [next(critiques) for _ in pair.ranked_answers]
        if None not in words:
            in_order = iter(words)
            criticized_pairs.append(criticize_answers(pair, lambda _, words=in_order: next(words) or ""))
    write_preferences(work.out, criticized_pairs)
    work.record(PreferenceCount(len(criticized_pairs), left_out={"too long": len(pairs) - len(criticized_pairs)}))
    work.headline = f"{len(criticized_pairs):,} ranked answers criticized by the model"
    return Preferences(work.out)


@stage(paper="-", version=2, gpu=True, data_parallel=True)
def rank_own_answers(
    work: Work,
    model: Checkpoint,
    prompts: Dialogues,
    *,
    sampling: SamplingParams,
    num_samples: PositiveInt = 4,
    critiques: PositiveInt = 3,
    approval: str = "It is right.",
) -> Preferences:
    """Answers of a model that criticizes, ranked by itself: of each prompt the one it gave most often and likes, over
    the one it gave most often and does not. And its critiques of one answer, where they disagree: one with the verdict
    of most over one with the verdict of fewest.

    approval: how its critique of an answer it likes ends. It likes an answer when most of its `critiques` do. Prompts
    of which it likes all answers, or none, are left out and counted. Source: Yuan et al. 2024 (Self-Rewarding Language
    Models), who draw three judgements; Wu et al. 2024 (Meta-Rewarding Language Models), who rank judgements too.
    Differs: a verdict in the place of points from 0 to 5, which models this small cannot tell apart, and a majority in
    the place of a judge of judgements.
    """
    tokenizer, ranks = TextTokenizer.load(model.path), RankGroup.of(work)
    chat_template = chat_template_of(tokenizer)
    entries, left_out = answerable_prompts(prompts, chat_template, read_shape(model.path).max_seq_len, ())
    answer_all(
        work,
        entries,
        model,
        tokenizer,
        chat_template,
        RejectionSamplingSettings(sampling=sampling, num_samples=num_samples),
        ranks,
    )
    conversations = list(chain.from_iterable(entry.answered_prompts for entry in entries))

    def report(count: int, total: int) -> None:
        work.progress(count, total, "critiques")

    answer_critiques = Critic(model, work.device, work.dtype, ranks=ranks).sample(
        conversations, critiques, sampling, workers=work.executor.workers, report=report
    )
    likes = iter(sum(approvals(texts, approval)) > len(texts) / 2 for texts in answer_critiques)
    answers: list[Preference] = []
    lengths: list[tuple[int, int]] = []
    for entry in entries:
        sides: dict[bool, list[Candidate]] = {True: [], False: []}
        for answer in entry.answers:
            sides[next(likes)].append(answer)
        if not sides[True] or not sides[False]:
            left_out["it likes none of its answers" if not sides[True] else "it likes all of its answers"] += 1
            continue
        chosen, rejected = (max(sides[side], key=lambda answer: answer.times) for side in (True, False))
        lengths.append((chosen.tokens, rejected.tokens))
        answers.append(Preference(prompt=entry.prompt, chosen=(chosen.message,), rejected=(rejected.message,)))
    judgements = [
        pair
        for conversation, words in zip(conversations, answer_critiques, strict=True)
        if (pair := _judgement_pair(conversation, words, approval))
    ]
    write_preferences(work.out, [*answers, *judgements])
    work.record(PreferenceCount(len(answers), left_out=dict(left_out)))
    longer = [sum(side) / max(1, len(lengths)) for side in zip(*lengths, strict=True)] if lengths else [0.0, 0.0]
    work.record(SelfRanking(len(judgements), chosen_tokens=longer[0], rejected_tokens=longer[1]))
    work.headline = (
        f"{len(answers):,} pairs by its own judgement, {longer[0]:.1f} tokens chosen, {longer[1]:.1f} rejected; "
        f"{len(judgements):,} of judgements"
    )
    return Preferences(work.out)


def _judgement_pair(conversation: Conversation, critiques: Sequence[str], approval: str) -> Preference | None:
    """The critique written most often with the verdict of most, over the one with the verdict of fewest; None where all
    agree, or as many like the answer as do not."""
    verdicts = approvals(critiques, approval)
    if 2 * sum(verdicts) in (0, len(verdicts), 2 * len(verdicts)):
        return None
    majority = 2 * sum(verdicts) > len(verdicts)
    by_verdict: dict[bool, Counter[str]] = {True: Counter(), False: Counter()}
    for words, like in zip(critiques, verdicts, strict=True):
        by_verdict[like][words] += 1
    sides = (by_verdict[side].most_common(1)[0][0] for side in (majority, not majority))
    chosen, rejected = ((Message("assistant", words),) for words in sides)
    return Preference(prompt=conversation.with_messages(ASK), chosen=chosen, rejected=rejected)


def approvals(critiques: Sequence[str | None], approval: str) -> list[bool]:
    """Whether each critique ends as one of an answer that is liked."""
    return [critique is not None and critique.strip().endswith(approval) for critique in critiques]


@stage(paper="-", version=1, gpu=True, data_parallel=True)
def evaluate_critics(
    work: Work, critics: tuple[Checkpoint, ...], preferences: tuple[Preferences, ...], *, approval: str = "It is right."
) -> Scores:
    """How often each critic likes the better answer of a pair and not the worse; pairs of which it likes both or
    neither count half."""
    answers: list[Conversation] = []  # the best of each pair, then its worst
    for preference in read_rankings(preferences):
        answered = _answered(preference)
        answers += [answered[0], answered[-1]]
    shares: list[Interval] = []
    for number, critic in enumerate(critics):
        work.progress(number, len(critics), "critics")
        critiques = Critic(critic, work.device, work.dtype, ranks=RankGroup.of(work)).criticize(
            answers, workers=work.executor.workers, report=work.progress_of_part(number, len(critics), "critics")
        )
        likes = approvals(critiques, approval)
        points = [(1 + better - worse) / 2 for better, worse in zip(likes[::2], likes[1::2], strict=True)]
        shares.append(bootstrap_mean(points))
    work.record(CriticScores(tuple(shares)))
    work.headline = "pairs judged right: " + ", ".join(f"{share.value:.0%}" for share in shares)
    return Scores(work.out)
