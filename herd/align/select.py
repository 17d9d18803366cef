"""Rejection sampling: many answers to a prompt, of which the reward model keeps the best (4.2.2)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from herd.core.artifacts import Checkpoint, Dialogues
from herd.core.records import Conversation, Message
from herd.core.settings import Positive
from herd.core.stage import Work, stage
from herd.core.storage import read_conversations, write_conversations
from herd.generate.engine import Engine, Sampling
from herd.judge.reward import RewardJudge
from herd.model.weights import load_transformer
from herd.tokens.chat import ChatFormat
from herd.tokens.tokenizer import TextTokenizer


@stage(paper="4.2.2", version=1)
def select(
    work: Work, judge: Checkpoint, model: Checkpoint, prompts: Dialogues, *, tries: Positive = 10, sampling: Sampling
) -> Dialogues:
    """Of `tries` answers of `model` to every prompt the one that `judge` scores highest.

    Prompts none of whose answers came to an end are left out. Source: Llama 3, 4.2.2 (10 to 30 tries).
    """
    text = TextTokenizer.load(model.path)
    form = ChatFormat(text)
    asked = [prompt for prompt in read_conversations(prompts.path) if not prompt.tools]
    ids = [form.prompt(prompt) for prompt in asked for _ in range(tries)]
    engine = Engine(load_transformer(model.path), text.stops)
    completions = engine.generate(ids, sampling, workers=work.place.workers, report=work.progress)
    answers: list[list[Message]] = []
    for number in range(len(asked)):
        own = completions[number * tries : (number + 1) * tries]
        # Equal answers are scored once; the first of each stays, so that a prefix means fewer tries.
        answers.append(list({tuple(one.ids): form.read(one.ids) for one in own if one.finished}.values()))
    scored = score_all(RewardJudge.load(judge), asked, answers)
    best = [
        prompt.then(max(zip(marks, said, strict=True), key=lambda pair: pair[0])[1])
        for prompt, said, marks in zip(asked, answers, scored, strict=True)
        if said
    ]
    write_conversations(work.out, best)
    _figures(work, asked, answers, scored, best, tries)
    return Dialogues(work.out)


def score_all(
    judge: RewardJudge, prompts: Sequence[Conversation], answers: Sequence[Sequence[Message]]
) -> list[list[float]]:
    """The score of every answer to every prompt."""
    flat = [prompt.then(answer) for prompt, said in zip(prompts, answers, strict=True) for answer in said]
    marks = iter(judge.score(flat))
    return [[next(marks) for _ in said] for said in answers]


def _figures(
    work: Work,
    asked: Sequence[Conversation],
    answers: Sequence[Sequence[Message]],
    scored: Sequence[Sequence[float]],
    best: Sequence[Conversation],
    tries: int,
) -> None:
    some = [marks for marks in scored if marks]
    first = sum(marks[0] for marks in some) / max(1, len(some))
    top = sum(max(marks) for marks in some) / max(1, len(some))
    work.figure("prompts", len(asked))
    work.figure("dialogues", len(best))
    work.figure("different_answers", sum(map(len, answers)))
    work.figure("reward", {"first": first, "best": top})
    work.figure("sources", dict(Counter(one.source for one in best)))
    work.figure("headline", f"{len(best):,} answers, reward {first:+.2f} on first try, {top:+.2f} best of {tries}")
