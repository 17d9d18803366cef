"""Benchmarks with choices: the likeliest is the answer, by its letter or its text, or the model names its letter.

Their rows have `choices`, a list of texts, and `gold`, the number of the right one, or of all that are.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal

from herd.core.settings import settings
from herd.evals.aggregates import mean_of
from herd.evals.benchmarks import (
    LETTERS,
    BenchmarkQuestions,
    BenchmarkSettings,
    GenerationSettings,
    Layout,
    no_words,
    prompt_of,
    with_examples,
)
from herd.evals.datasets import DatasetRow
from herd.evals.task import Example, Grade, LogLikelihood, ModelAnswer, Task
from herd.judge.extraction import grade_bare_letter

Normalize = Literal["none", "characters", "tokens", "bytes", "pmi"]
RowText = Callable[[DatasetRow], str]


@settings
class ChoiceSettings(BenchmarkSettings):
    """As all benchmarks have them. scoring: whether the choices are listed and their letters compared, or their texts.
    normalize: by what a choice's log-probability is divided, or what is taken off."""

    scoring: Literal["letters", "text"] = "text"
    normalize: Normalize = "none"


def golds(row: DatasetRow) -> tuple[int, ...]:
    """The numbers of the right choices."""
    return tuple(row["gold"]) if isinstance(row["gold"], Sequence) else (int(row["gold"]),)


def letter_of(row: DatasetRow) -> str:
    """The letter of the right choice."""
    return LETTERS[golds(row)[0]]


def text_of(row: DatasetRow) -> str:
    """The text of the right choice."""
    return row["choices"][golds(row)[0]]


def list_choices(row: DatasetRow, form: str = "\n{letter}. {choice}") -> str:
    """All choices, each after its letter."""
    pairs = zip(LETTERS, row["choices"], strict=False)
    return "".join(form.format(letter=letter, choice=choice) for letter, choice in pairs)


def choice_task(
    own: ChoiceSettings,
    questions: BenchmarkQuestions,
    *,
    text: RowText,
    lettered: RowText | None = None,
    description: RowText = no_words,
    between: str = " ",
    group: Callable[[DatasetRow], str] | None = None,
) -> Task:
    """Choices compared, in the way the settings say.

    text: how a question is put whose choices' texts are compared. lettered: where letters are; `text` with the choices
    before its last line when absent. between: the end of a question and a choice.
    """
    letters = own.scoring == "letters"
    question = (lettered or _listed(text)) if letters else text
    layout = Layout(question, letter_of if letters else text_of, description, delimiter=between)

    def choices(example: Example) -> list[str]:
        names = LETTERS[: len(example.row["choices"])] if letters else example.row["choices"]
        return [f"{between}{name}" for name in names]

    def target(row: DatasetRow) -> str:
        return between + layout.answer(row)

    return Task(
        with_examples(questions, target),
        prompt_of(layout, questions, own),
        LogLikelihood(choices, own.normalize, share_prompts=True),
        grade_choices,
        metrics={} if letters else {name: mean_of(name) for name in ("acc", "acc_norm")},
        group=None if group is None else lambda example: group(example.row),
        notes=questions.notes,
    )


def _listed(text: RowText) -> RowText:
    def listed(row: DatasetRow) -> str:
        question, line, last = text(row).rpartition("\n")
        return f"{question}{list_choices(row)}\n{last}" if line else last + list_choices(row) + "\nAnswer:"

    return listed


def grade_choices(example: Example, answer: ModelAnswer) -> Grade:
    """Right when the likeliest choice is. parts: as lm-eval has them, by log-probability alone (acc), a character of
    the choice (acc_norm) and a byte of it (acc_bytes)."""
    right, choices = golds(example.row), [str(choice) for choice in example.row["choices"]]
    nats = answer.log_likelihoods
    lengths = {"acc": [1] * len(choices), "acc_norm": list(map(len, choices))}
    lengths["acc_bytes"] = [len(choice.encode()) for choice in choices]
    parts = {name: float(_likeliest(nats, sizes) in right) for name, sizes in lengths.items()}
    number = 0 if answer.choice is None else answer.choice
    target = ", ".join(choices[gold] for gold in right)
    return Grade(float(number in right), choices[number], f"the answer is {target!r}", parts=parts)


def _likeliest(nats: Sequence[float], sizes: Sequence[int]) -> int:
    weighed = [logp / max(1, size) for logp, size in zip(nats, sizes, strict=True)]
    return weighed.index(max(weighed))


def named_letter_task(
    own: BenchmarkSettings,
    questions: BenchmarkQuestions,
    *,
    question: RowText,
    max_tokens: int,
    stop: tuple[str, ...] = (),
    shown_answer: RowText = letter_of,
    group: Callable[[DatasetRow], str] | None = None,
) -> Task:
    """The model goes on from `The best answer is`, and should name the letter and nothing else.

    Source: lm-evaluation-harness, `llama3/instruct`; llama-models, eval_details.
    """
    layout = Layout(question, shown_answer, response_prefix="The best answer is")
    writing = GenerationSettings(**{name: getattr(own, name) for name in ("data", "prompt_style")})

    def grade(example: Example, answer: ModelAnswer) -> Grade:
        verdict = grade_bare_letter(answer.text, letter_of(example.row))
        return Grade(verdict.score, verdict.extracted, verdict.reason, verdict.unparsed, verdict.parts)

    return Task(
        with_examples(questions, lambda row: f" {letter_of(row)}"),
        prompt_of(layout, questions, own),
        writing.generation(max_tokens, stop),
        grade,
        group=None if group is None else lambda example: group(example.row),
        notes=questions.notes,
    )


def best_answer_question(row: DatasetRow) -> str:
    """A question with four choices as Llama 3's models are asked it. Source: lm-evaluation-harness,
    `llama3/instruct/mmlu`; llama-models, eval_details."""
    return (
        "Given the following question and four candidate answers (A, B, C and D), choose the best answer.\n"
        f"Question: {row['question'].strip()}{list_choices(row)}\n"
        'Your response should end with "The best answer is [the_answer_letter]" where the [the_answer_letter] is one '
        "of A, B, C or D."
    )
