"""What a model scores on a task: of every example, with intervals, and what was answered."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from herd.core.terminal import count_of
from herd.evals.intervals import Interval, bootstrap_mean, ratio_mean, wilson
from herd.evals.results import GroupShare, Sample, TaskResult, TextResult
from herd.evals.significance import macro_mean
from herd.evals.task import Grade, ModelAnswer
from herd.judge.best_of import mean_of_best

_SAMPLES = 6
_SAMPLE_CHARACTERS = 400


@dataclass(frozen=True)
class GradedAnswer:
    """One answer to one example and what it is worth.

    prompt: what was asked last. answer: all that was written, control tokens among it. group: the example's. target:
    the example's. sample: which of its answers. text: what was graded. full_prompt: all that was read, as text.
    tokens: of the answer. finish_reason: why it ended, where one was written. log_likelihoods: of all choices.
    model_answer: as it was graded. token_ids: of its last turn. stop_string: the one that ended it. left_truncated:
    whether the prompt lost its first tokens. choices: what they are called, with how many tokens each has and, where it
    was measured, how likely it is alone.
    """

    example: str
    prompt: str
    answer: str
    grade: Grade
    group: str = ""
    target: str = ""
    sample: int = 0
    text: str = ""
    full_prompt: str = ""
    tokens: int = 0
    finish_reason: str = ""
    log_likelihoods: tuple[float, ...] = ()
    model_answer: ModelAnswer | None = None
    token_ids: Sequence[int] = ()
    stop_string: str = ""
    left_truncated: bool = False
    choices: tuple[str, ...] = ()
    choice_tokens: tuple[int, ...] = ()
    unconditional: tuple[float, ...] = ()

    def to_sample(self) -> Sample:
        """The answer to look at, cut to a length that fits a page."""
        return Sample(
            self.prompt[-_SAMPLE_CHARACTERS:],
            self.answer[:_SAMPLE_CHARACTERS],
            self.grade.score == 1,
            self.grade.score,
            self.grade.extracted[:_SAMPLE_CHARACTERS],
            self.grade.reason[:_SAMPLE_CHARACTERS],
        )


@dataclass(frozen=True)
class ChoiceLikelihoods:
    """How likely a model held every choice of an example, in nats, not normalised, and which is right; None where the
    example names none of them."""

    log_likelihoods: tuple[float, ...]
    right: int | None


@dataclass(frozen=True)
class TaskScore:
    """What a model scores on a task. scores: of every example, in order, from 0 to 1; None where it is void. answers:
    every answer, example by example. truncated_share: the share of answers that did not come to an end. tokens: of an
    answer, the mean. choices: of every example with choices, in order. groups: of every example, in order, where the
    task has some. metrics: the task's other figures. left_truncated: how many prompts lost their first tokens. notes:
    the task's."""

    scores: tuple[float | None, ...]
    answers: tuple[GradedAnswer, ...] = ()
    truncated_share: float = 0.0
    tokens: float = 0.0
    choices: tuple[ChoiceLikelihoods, ...] = ()
    groups: tuple[str, ...] = ()
    metrics: Mapping[str, Interval] = field(default_factory=dict)
    left_truncated: int = 0
    notes: tuple[str, ...] = ()

    @property
    def valid_scores(self) -> list[float]:
        """The scores that are not void."""
        return [score for score in self.scores if score is not None]

    @property
    def interval(self) -> Interval:
        """The mean with its 95 % interval: Wilson's where every example is right or wrong, or there is one, else by
        bootstrap."""
        scores = self.valid_scores
        if len(scores) == 1 or all(score in (0, 1) for score in scores):
            return wilson(sum(scores), len(scores))
        return bootstrap_mean(scores)

    @property
    def by_group(self) -> dict[str, list[float]]:
        """The scores of every group that are not void."""
        groups: dict[str, list[float]] = {}
        for group, score in zip(self.groups, self.scores, strict=bool(self.groups)):
            groups.setdefault(group, [])
            if score is not None:
                groups[group].append(score)
        return groups

    @property
    def macro(self) -> Interval | None:
        """The mean over groups, each of which counts as much, with its 95 % interval by bootstrap inside the groups;
        None without groups."""
        if not self.groups:
            return None
        rows = [row for row in zip(self.scores, self.groups, strict=True) if row[0] is not None]
        return macro_mean([score for score, _ in rows if score is not None], [group for _, group in rows])

    @property
    def unparsed(self) -> int:
        """Answers that nothing could be read out of."""
        return sum(answer.grade.unparsed for answer in self.answers)

    def __str__(self) -> str:
        void = len(self.scores) - len(self.valid_scores)
        words = f"{self.interval}  {count_of(len(self.scores), 'question')}" + (
            f", {void} of them void" if void else ""
        )
        if self.unparsed:
            words += f", {count_of(self.unparsed, 'answer')} unparsed"
        if self.left_truncated:
            words += f", {count_of(self.left_truncated, 'prompt')} truncated"
        if self.macro is not None:
            words += f"; macro {self.macro} of {count_of(len(self.by_group), 'group')}"
        return "; ".join([words, *(f"{name} {metric}" for name, metric in self.metrics.items())])

    def result(self) -> TaskResult:
        """What is recorded of it."""
        return TaskResult(
            *self.interval,
            questions=len(self.scores),
            void=len(self.scores) - len(self.valid_scores),
            right=tuple(None if score is None else int(score) if score in (0, 1) else score for score in self.scores),
            truncated_share=self.truncated_share,
            tokens=self.tokens,
            samples=tuple(answer.to_sample() for answer in self.answers[:_SAMPLES]),
            chance=sum(1 / len(row.log_likelihoods) for row in self.choices) / len(self.choices)
            if self.choices
            else None,
            unparsed=self.unparsed,
            left_truncated=self.left_truncated,
            macro=self.macro,
            groups={
                group: GroupShare(sum(scores) / len(scores), len(scores))
                for group, scores in sorted(self.by_group.items())
                if scores
            },
            metrics=dict(self.metrics),
            notes=self.notes,
        )


@dataclass(frozen=True)
class TextScore:
    """How well a model predicts the texts of a task. nats, tokens, utf8_bytes: of every text."""

    nats: tuple[float, ...]
    tokens: tuple[int, ...]
    utf8_bytes: tuple[int, ...]

    @property
    def interval(self) -> Interval:
        """Bits a byte with a 95 % interval over texts, which no tokenizer changes the meaning of."""
        return ratio_mean([nats / math.log(2) for nats in self.nats], self.utf8_bytes, least=0.0)

    def __str__(self) -> str:
        return f"{self.interval.words('.3f', 'text')} bits a byte  {count_of(len(self.nats), 'text')}"

    def result(self) -> TextResult:
        """What is recorded of it."""
        per_token = sum(self.nats) / sum(self.tokens)
        return TextResult(
            *self.interval,
            questions=len(self.nats),
            nats_per_token=per_token,
            token_perplexity=math.exp(min(per_token, 700.0)),
            text_nats=self.nats,
            text_bytes=self.utf8_bytes,
        )


Score = TaskScore | TextScore


def best_of_k(grades: Sequence[Grade], k: int) -> float | None:
    """What the best of `k` answers is worth, over every way to draw `k` of these; None where fewer are not void."""
    scores = [grade.score for grade in grades if grade.score is not None]
    return mean_of_best(scores, scores, k) if len(scores) >= k else None
