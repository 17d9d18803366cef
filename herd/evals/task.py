"""What a task is: examples, how each is put to a model, how the model answers, and how an answer is graded.

A task knows nothing of models, and the harness nothing of any task.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from herd.core.errors import DataError, SettingsError
from herd.core.records import Conversation, Message


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

    Source: Zheng et al. 2023 (MT-Bench), 2.2, asks a second turn so.
    """

    chat: Conversation
    plain: str
    turns: tuple[str, ...] = ()

    @classmethod
    def of(cls, text: str, identity: str = "") -> Prompt:
        """The same words for both: a user's message, and the text to continue."""
        return cls(Conversation((Message("user", text),), identity), text)

    def after(self, answer: ModelAnswer) -> Prompt:
        """How the next turn is put, after this answer; text goes on with it on a line of its own."""
        turn, *later = self.turns
        chat = self.chat.with_messages(answer.message, Message("user", turn))
        return Prompt(chat, f"{self.plain}{answer.text}\n{turn}", tuple(later))


@dataclass(frozen=True)
class Generate:
    """The model writes. stop: strings that end the answer of a model that continues text, and are no part of it; in a
    chat the turn ends by itself. num_samples: answers to each example, drawn at `temperature` (0 always takes the
    likeliest token). k: an example's score is what the best of k samples is worth
    on average, the unbiased estimate of pass@k; with 1 it is the mean of all. long_prompts: what is done with a prompt
    that a model's context does not hold: `refuse` the whole task, since its scores would mean nothing, or, where
    reading so much is what is asked for, `unanswered`, which is answered with nothing.

    Source: Chen et al. 2021 (HumanEval), 2.1.
    """

    max_tokens: int = 64
    stop: tuple[str, ...] = ()
    num_samples: int = 1
    temperature: float = 0.0
    top_p: float = 1.0
    k: int = 1
    long_prompts: Literal["refuse", "unanswered"] = "refuse"

    def __post_init__(self) -> None:
        if not 1 <= self.k <= self.num_samples:
            raise SettingsError(f"k is {self.k} of {self.num_samples} samples; draw at least k, and k at least 1")
        if self.num_samples > 1 and self.temperature == 0:
            raise SettingsError(
                f"{self.num_samples} samples at temperature 0 are all alike; give a temperature above 0"
            )


@dataclass(frozen=True)
class LogLikelihood:
    """The model's likeliest of several texts is its answer. choices: the texts, as they would go on from the plain
    prompt, in order. normalize: by what a text's log-probability is divided: nothing, its characters without spaces at
    either end (lm-eval's `acc_norm`), or its tokens."""

    choices: Callable[[Example], Sequence[str]]
    normalize: Literal["none", "characters", "tokens"] = "none"


@dataclass(frozen=True)
class Perplexity:
    """Nothing is answered: how likely the model holds every token of the plain prompt is the result, in bits a byte."""


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
    the answer. reason: the reason, for people."""

    score: float | None
    extracted: str = ""
    reason: str = ""

    def __post_init__(self) -> None:
        if self.score is not None and not 0 <= self.score <= 1:
            raise DataError(f"a grade of {self.score} is none from 0 to 1; mend the task's grader")


@dataclass(frozen=True)
class Task:
    """Examples and all that is needed to score a model on them.

    prompt: gives how an example is put; a text alone is put to any model. output_type: how the model answers. grade:
    judges one answer; a task of likelihoods without one holds the choice right that equals the example's target.
    Raises SettingsError when there is nothing to ask, or nobody to grade what is written.
    """

    examples: Sequence[Example]
    prompt: Callable[[Example], Prompt | str]
    output_type: Generate | LogLikelihood | Perplexity = Generate()
    grade: Callable[[Example, ModelAnswer], Grade] | None = None

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
