"""How far a score on questions with choices depends on what should not matter: labels, the order of choices, the labels
of the shots, and the words of the prompt.

Source: Llama 3, 5.1.2 (robustness of multiple-choice set-ups).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np

from herd.core.errors import DataError
from herd.core.seeds import rng
from herd.evals.intervals import Interval, percentiles
from herd.evals.task import Example, Grade, LogLikelihood, Metric, ModelAnswer, Task

Factor = Literal["shots", "labels", "order", "template"]
FACTORS: tuple[Factor, ...] = ("shots", "labels", "order", "template")
ChoiceRow = Mapping[str, Any]  # `id`, `question`, `choices`, `gold` (a number) and `subject`
_RESAMPLES, _RESAMPLES_AT_ONCE = 1000, 100


@dataclass(frozen=True)
class PromptTemplate:
    """The words around questions. description: before everything, of a subject. question: of a question and its
    choices. The label of the answer follows."""

    description: str
    question: str


# From what lm-evaluation-harness says to a full account of the task.
QUESTION_TEMPLATES = (
    PromptTemplate(
        "The following are multiple choice questions (with answers) about {subject}.\n\n",
        "{question}\n{choices}\nAnswer:",
    ),
    PromptTemplate("", "{question}\n{choices}\nAnswer:"),
    PromptTemplate("", "Question: {question}\nOptions:\n{choices}\nThe best answer is"),
    PromptTemplate(
        "Answer each question with the label of the right option and nothing else.\n\n",
        "Question: {question}\n\n{choices}\n\nAnswer:",
    ),
    PromptTemplate(
        "You are given questions about {subject}. Each has several options, of which exactly one is right. Read the "
        "question and all of its options with care, decide which one is right, and give its label.\n\n",
        "Question:\n{question}\n\nOptions:\n{choices}\n\nThe label of the right option is",
    ),
)


@dataclass(frozen=True)
class PromptVariant:
    """One way to put all questions. labels: of the choices, in order; form: of a label and its choice. order: how
    choices are moved, `kept`, `cyclic N`, `shuffled`, or `gold N`, by which the right one stands at place N. shots: the
    labels of the shots' right choices, such as `AADD`, repeated; as the data have them when empty. template: its
    number."""

    name: str
    factor: Factor | Literal["base"]
    labels: tuple[str, ...] = ("A", "B", "C", "D")
    form: str = "{label}. {choice}"
    order: str = "kept"
    shots: str = ""
    template: int = 0


BASE = PromptVariant("base", "base")
_SYMBOLS, _RARE_SYMBOLS = ("$", "&", "#", "@"), ("œ", "§", "з", "ü")
VARIANTS = (
    BASE,
    *(replace(BASE, name=f"shots {shots}", factor="shots", shots=shots) for shots in ("AAAA", "ABCD", "AADD", "BBCC")),
    replace(BASE, name="labels $ & # @", factor="labels", labels=_SYMBOLS),
    replace(BASE, name="labels œ § з ü", factor="labels", labels=_RARE_SYMBOLS),
    replace(BASE, name="labels A)", factor="labels", form="{label}) {choice}"),
    replace(BASE, name="labels 1.", factor="labels", labels=("1", "2", "3", "4")),
    *(replace(BASE, name=f"order cyclic {step}", factor="order", order=f"cyclic {step}") for step in (1, 2, 3)),
    replace(BASE, name="order shuffled", factor="order", order="shuffled"),
    *(replace(BASE, name=f"order gold {label}", factor="order", order=f"gold {n}") for n, label in enumerate("ABCD")),
    *(replace(BASE, name=f"template {n}", factor="template", template=n) for n in range(1, len(QUESTION_TEMPLATES))),
)


def variants_of(factors: Sequence[Factor]) -> list[PromptVariant]:
    """The base, and all that differ from it in one of these factors."""
    return [variant for variant in VARIANTS if variant.factor in ("base", *factors)]


def move_choices(row: ChoiceRow, order: str) -> ChoiceRow:
    """The row with its choices in another order, the right one with them."""
    places = list(range(len(row["choices"])))
    way, _, number = order.partition(" ")
    if way == "cyclic":
        step = int(number) % len(places)
        places = places[step:] + places[:step]
    elif way == "shuffled":
        rng(0, "order of choices", row["id"]).shuffle(places)
    elif way == "gold":
        gold, place = row["gold"], min(int(number), len(places) - 1)
        places[gold], places[place] = places[place], places[gold]
    return {**row, "choices": [row["choices"][place] for place in places], "gold": places.index(row["gold"])}


def variant_prompt(row: ChoiceRow, shots: Sequence[ChoiceRow], variant: PromptVariant) -> tuple[str, int]:
    """The prompt, and which label is right. Raises DataError for more choices than labels."""
    template = QUESTION_TEMPLATES[variant.template]
    moved = move_choices(row, variant.order)
    if len(moved["choices"]) > len(variant.labels):
        raise DataError(f"question {row['id']!r} has {len(moved['choices'])} choices; there are labels for four")
    text = template.description.format(subject=row["subject"].replace("_", " "))
    for number, shot in enumerate(shots):
        if variant.shots:
            pattern = "ABCD".index(variant.shots[number % len(variant.shots)])
            shot = move_choices(shot, f"gold {pattern}")
        text += f"{_put(shot, template, variant)} {variant.labels[shot['gold']]}\n\n"
    return text + _put(moved, template, variant), moved["gold"]


def _put(row: ChoiceRow, template: PromptTemplate, variant: PromptVariant) -> str:
    pairs = zip(variant.labels, row["choices"], strict=False)
    listed = "\n".join(variant.form.format(label=label, choice=choice) for label, choice in pairs)
    return template.question.format(question=row["question"].strip(), choices=listed)


def robustness_task(
    rows: Sequence[ChoiceRow], shots: Mapping[str, Sequence[ChoiceRow]], factors: Sequence[Factor],
    notes: tuple[str, ...] = (),
) -> Task:  # fmt: skip
    """Every question in every variant, its labels compared. shots: by the subject of a question. The task's metrics are
    the macro score over subjects of each variant, and for each factor how far apart its variants are."""
    variants = variants_of(factors)
    names = sorted({row["subject"] for row in rows})
    subjects = {subject: number for number, subject in enumerate(names)}
    examples = []
    for number, row in enumerate(rows):
        for place, variant in enumerate(variants):
            prompt, gold = variant_prompt(row, shots.get(row["subject"], ()), variant)
            labels = [f" {label}" for label in variant.labels[: len(row["choices"])]]
            parts = {"question": float(number), "variant": float(place), "subject": float(subjects[row["subject"]])}
            own = {"prompt": prompt, "labels": labels, "variant": variant.name, "parts": parts}
            examples.append(Example(f"{row['id']}/{variant.name}", own, labels[gold]))

    def grade(example: Example, answer: ModelAnswer) -> Grade:
        reason = f"the target is {example.target!r}"
        return Grade(float(answer.text == example.target), answer.text, reason, parts=example.row["parts"])

    return Task(
        examples,
        lambda example: example.row["prompt"],
        LogLikelihood(lambda example: example.row["labels"]),
        grade,
        metrics=_metrics(variants),
        group=lambda example: example.row["variant"],
        notes=notes,
    )


def _metrics(variants: Sequence[PromptVariant]) -> dict[str, Metric]:
    """The macro score of each variant, and of each factor the distance from its worst variant to its best, the base
    among them."""
    metrics: dict[str, Metric] = {}
    for place, variant in enumerate(variants):
        metrics[variant.name] = _macro_of((place,))
    for factor in FACTORS:
        places = [n for n, variant in enumerate(variants) if variant.factor in ("base", factor)]
        if len(places) > 1:
            metrics[f"spread of {factor}"] = _macro_of(tuple(places))
    return metrics


def _macro_of(places: tuple[int, ...]) -> Metric:
    def metric(grades: Sequence[Sequence[Grade]]) -> Interval:
        scores, subjects = score_table([own[0] for own in grades], places)
        return macro_spread(scores, subjects)

    return metric


def score_table(grades: Sequence[Grade], places: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
    """The scores of questions by variant, of those that have one under each, and their subjects. [questions, variants],
    [questions]"""
    table: dict[float, dict[float, float]] = {}
    subjects: dict[float, float] = {}
    for grade in grades:
        if grade.score is not None and grade.parts["variant"] in places:
            table.setdefault(grade.parts["question"], {})[grade.parts["variant"]] = grade.score
            subjects[grade.parts["question"]] = grade.parts["subject"]
    complete = [question for question, own in table.items() if len(own) == len(places)]
    scores = np.array([table[question][place] for question in complete for place in places], float)
    return scores.reshape(len(complete), len(places)), np.array([subjects[question] for question in complete])


def macro_spread(scores: np.ndarray, subjects: np.ndarray) -> Interval:
    """Of one variant its macro score over subjects, of several the distance from the lowest to the highest, with a
    95 % interval by bootstrap over the questions of each subject, the same for all variants. Of no difference at all
    the distance is still above 0, by chance. scores: [questions, variants]; subjects: [questions]."""
    if not len(scores):
        return Interval(float("nan"), -float("inf"), float("inf"))
    _, own, sizes = np.unique(subjects, return_inverse=True, return_counts=True)
    share = 1 / (sizes[own] * len(sizes))  # of the macro score, by question
    chance = np.random.default_rng(0)
    order = np.argsort(own, kind="stable")
    starts = np.repeat(np.cumsum(sizes) - sizes, sizes)
    values: list[float] = []
    for _ in range(_RESAMPLES // _RESAMPLES_AT_ONCE):
        picks = starts + (chance.random((_RESAMPLES_AT_ONCE, len(own))) * np.repeat(sizes, sizes)).astype(int)
        macro = (scores[order][picks] * share[order][None, :, None]).sum(axis=1)
        values += _distance(macro).tolist()
    return Interval(float(_distance((scores * share[:, None]).sum(axis=0)[None])[0]), *percentiles(values))


def _distance(macro: np.ndarray) -> np.ndarray:
    """Of macro scores by variant. [draws, variants] to [draws]."""
    return macro[:, 0] if macro.shape[1] == 1 else macro.max(axis=1) - macro.min(axis=1)


def adversarial_ratio(plain: Sequence[float], adversarial: Sequence[float], *, resamples: int = 2000) -> Interval:
    """How much of the score on plain examples is left on adversarial ones, with its 95 % interval by bootstrap over the
    examples of both; 1 where nothing is lost.

    Raises DataError without examples, or where nothing plain is right. Source: Llama 3, 5.1.3.
    """
    first, second = np.asarray(plain, float), np.asarray(adversarial, float)
    if not len(first) or not len(second):
        raise DataError("a ratio takes examples of both tasks; one has none")
    if first.mean() == 0:
        raise DataError("nothing of the plain task is right, so no share of it can be lost; take a stronger model")
    chance = np.random.default_rng(0)
    means = [
        sample[chance.integers(0, len(sample), (resamples, len(sample)))].mean(axis=1) for sample in (first, second)
    ]
    ratios = np.divide(means[1], means[0], out=np.full(resamples, np.inf), where=means[0] > 0)
    return Interval(float(second.mean() / first.mean()), *percentiles(ratios[np.isfinite(ratios)]))
