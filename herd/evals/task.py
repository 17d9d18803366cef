"""What a task is: examples, how each is put to a model, how the model answers, and how an answer is graded.

A task knows nothing of models, and the harness nothing of any task.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from herd.core.errors import DataError, SettingsError
from herd.core.records import Conversation, Message
from herd.evals.intervals import Interval


@dataclass(frozen=True)
class Example:
    """One thing to ask. row: whatever the prompt and the grader need, such as a row of a file. target: the text of a
    right answer, as it would go on from the plain prompt; empty where no single text is right."""

    id: str
    row: Mapping[str, Any] = field(default_factory=dict)
    target: str = ""


@dataclass(frozen=True)
class Prompt:
    """How an example is put to a model. chat: to one with a chat template. plain: to one that continues text. turns:
    what the user says later, each once the model has answered what stands before; its own answers stay in between.
    response_prefix: what the first answer begins with, which the model goes on from: in its own turn of a chat, and
    after the plain prompt in text, with a space between where neither has one. It is no part of what is graded.

    Source: Zheng et al. 2023 (MT-Bench), 2.2, asks a second turn so; lm-evaluation-harness, `gen_prefix`.
    """

    chat: Conversation
    plain: str
    turns: tuple[str, ...] = ()
    response_prefix: str = ""

    @classmethod
    def of(cls, text: str, identity: str = "") -> Prompt:
        """The same words for both: a user's message, and the text to continue."""
        return cls(Conversation((Message("user", text),), identity), text)

    @property
    def text(self) -> str:
        """What a model that continues text goes on from: the plain prompt and what the answer begins with."""
        return join_text(self.plain, self.response_prefix)

    def after(self, answer: ModelAnswer) -> Prompt:
        """How the next turn is put, after this answer; text goes on with it on a line of its own."""
        turn, *later = self.turns
        message = answer.message
        if self.response_prefix:
            message = replace(message, content=self.response_prefix + message.content)
        chat = self.chat.with_messages(message, Message("user", turn))
        return Prompt(chat, f"{self.text}{answer.text}\n{turn}", tuple(later))


def join_text(before: str, after: str, between: str = " ") -> str:
    """Both, with `between` where neither has white space and none is empty. Source: lm-evaluation-harness,
    `maybe_delimit`."""
    if not before or not after or before[-1].isspace() or after[0].isspace():
        return before + after
    return before + between + after


LongPrompts = Literal["refuse", "unanswered", "truncate_left"]
Normalization = Literal["none", "characters", "tokens", "bytes", "pmi"]


@dataclass(frozen=True)
class Generate:
    """The model writes. stop: strings that end the answer of a model that continues text, and are no part of it; in a
    chat the turn ends by itself, and at `chat_stop`. num_samples: answers to each example, drawn at `temperature` (0
    always takes the likeliest token). k: an example's score is what the best of k samples is worth on average, the
    unbiased estimate of pass@k; with 1 it is the mean of all. long_prompts: what is done with a prompt
    that a model's context does not hold: `refuse` the whole task, since its scores would mean nothing, or, where
    reading so much is what is asked for, `unanswered`, which is answered with nothing; `truncate_left` leaves out its
    first tokens until it and the answer have room, and counts it.

    Source: Chen et al. 2021 (HumanEval), 2.1.
    """

    max_tokens: int = 64
    stop: tuple[str, ...] = ()
    num_samples: int = 1
    temperature: float = 0.0
    top_p: float = 1.0
    k: int = 1
    long_prompts: LongPrompts = "refuse"
    chat_stop: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not 1 <= self.k <= self.num_samples:
            raise SettingsError(f"k is {self.k} of {self.num_samples} samples; draw at least k, and k at least 1")
        if not 0 <= self.temperature < math.inf:
            raise SettingsError(f"the temperature is {self.temperature}; give 0 or more")
        if self.num_samples > 1 and self.temperature == 0:
            raise SettingsError(
                f"{self.num_samples} samples at temperature 0 are all alike; give a temperature above 0"
            )


@dataclass(frozen=True)
class LogLikelihood:
    """The model's likeliest of several texts is its answer. choices: the texts, as they would go on from the plain
    prompt, in order. normalize: by what a text's log-probability is divided: nothing, its characters without spaces at
    either end (lm-eval's `acc_norm`), its bytes, or its tokens; or what is taken off, its log-probability after
    `unconditional` alone (`pmi`). contexts: where the choices stand in the prompt and not in what follows it, a
    prompt for each choice, in place of the task's. A choice is then called by its plain prompt and what follows.
    greedy: there is one text, and it is the model's answer if it would have written it, else nothing is.
    share_prompts: whether a prompt may be read once for its choices, and what it has in common with the prompt before
    not again, which changes scores by rounding; on a CPU it is.
    long_prompts: as of `Generate`; none may stay unanswered.

    Source: Brown et al. 2020 (GPT-3), 2.4, for what is taken off; Trinh and Le 2018 for partial scoring; lm-evaluation-
    harness, `multiple_choice` and `loglikelihood`.
    """

    choices: Callable[[Example], Sequence[str]]
    normalize: Normalization = "none"
    unconditional: str = "Answer:"
    contexts: Callable[[Example], Sequence[Prompt | str]] | None = None
    greedy: bool = False
    share_prompts: bool = False
    long_prompts: Literal["refuse", "truncate_left"] = "refuse"


@dataclass(frozen=True)
class Perplexity:
    """Nothing is answered: how likely the model holds every token of the plain prompt is the result, in bits a byte.
    limit_tokens: of each text, how many of the first tokens are scored; all when 0."""

    limit_tokens: int = 0


@dataclass(frozen=True)
class ModelAnswer:
    """What a model answered. text: what it wrote, of text that goes on up to the first stop string, or the choice it
    holds likeliest.
    message: the same as its chat template reads it, calls of tools among it. chat: whether it was asked in the chat
    format. finished: whether the answer came to an end. choice: the number of the likeliest choice. log_likelihoods: of
    all choices, in nats, before they are normalized. earlier: what it answered to the turns before, in order."""

    text: str
    message: Message
    chat: bool = False
    finished: bool = True
    choice: int | None = None
    log_likelihoods: tuple[float, ...] = ()
    earlier: tuple[ModelAnswer, ...] = ()


@dataclass(frozen=True)
class Grade:
    """What an answer is worth. score: 1 right, 0 wrong, in between partly right; None is void: nobody could tell, as
    when the machine that runs tests is overloaded, and the answer counts in no score. extracted: what was read out of
    the answer. reason: the reason, for people. unparsed: whether nothing could be read out of it, which is counted.
    parts: other figures of the same answer by name, such as its F1, for the task's metrics."""

    score: float | None
    extracted: str = ""
    reason: str = ""
    unparsed: bool = False
    parts: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.score is not None and not 0 <= self.score <= 1:
            raise DataError(f"a grade of {self.score} is none from 0 to 1; mend the task's grader")


# What is measured of a task beside its score, from the grades of every example, sample by sample.
Metric = Callable[[Sequence[Sequence[Grade]]], Interval]


@dataclass(frozen=True)
class Task:
    """Examples and all that is needed to score a model on them.

    prompt: gives how an example is put; a text alone is put to any model. output_type: how the model answers. grade:
    judges one answer; a task of likelihoods without one holds the choice right that equals the example's target.
    metrics: other figures by name. group: the part of the task that an example belongs to, such as MMLU's subject; its
    score is then also given as the mean over groups. notes: what somebody who reads the score has to know of the
    examples, such as that they are a part of the benchmark.
    Raises SettingsError when there is nothing to ask, or nobody to grade what is written.
    """

    examples: Sequence[Example]
    prompt: Callable[[Example], Prompt | str]
    output_type: Generate | LogLikelihood | Perplexity = Generate()
    grade: Callable[[Example, ModelAnswer], Grade] | None = None
    metrics: Mapping[str, Metric] = field(default_factory=dict)
    group: Callable[[Example], str] | None = None
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not self.examples:
            raise SettingsError("the task has no examples; check its file and its limit")
        if self.grade is None and isinstance(self.output_type, Generate):
            raise SettingsError("the task has nobody to grade what a model writes; give it `grade`")

    def prompt_for(self, example: Example) -> Prompt:
        """How the example is put to a model."""
        prompt = self.prompt(example)
        return Prompt.of(prompt, example.id) if isinstance(prompt, str) else prompt

    def judge(self, example: Example, answer: ModelAnswer) -> Grade:
        """What the answer is worth."""
        if self.grade is not None:
            return self.grade(example, answer)
        return Grade(float(answer.text == example.target), answer.text, f"the target is {example.target!r}")
