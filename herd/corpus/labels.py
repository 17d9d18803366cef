"""What a language model says about documents, as labels for a small classifier to learn from."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from herd.core.errors import DataError
from herd.core.records import Conversation, Message
from herd.generate.samplers import Sampler

READ_CHARACTERS = 3_000  # of a document that the model is shown


@dataclass(frozen=True)
class Rubric:
    """What a model is asked about a document. question: shown above it. highest: of the points it may give; they
    start at 0. parse: where the points stand in its answer."""

    name: str
    question: str
    highest: int
    parse: str = r"(?i)score\W{0,12}(\d+)"

    def ask(self, text: str) -> Conversation:
        content = f"{self.question}\n\n<document>\n{text[:READ_CHARACTERS]}\n</document>"
        return Conversation((Message("user", content),))

    def points(self, answer: str) -> float:
        """The points in an answer, the last ones when there are several; NaN when there are none or too many."""
        found = re.findall(self.parse, answer)
        points = float(found[-1]) if found else float("nan")
        return points if points <= self.highest else float("nan")


EDUCATIONAL = Rubric(
    "educational",
    "How much would a pupil learn from the web page below? Start at 0 and add a point for each of these that "
    "holds. 1: something on it bears on what is taught in schools, even among other matter. 2: a subject taught "
    "in schools is treated, if loosely or in fragments. 3: it suits a lesson: it explains, and what it explains "
    "hangs together. 4: it is close to a chapter of a textbook, clear, with examples or exercises and little else. "
    "5: it could be used in class as it stands.\nGive your reasons in two sentences, then write `score: ` and the "
    "sum.",
    5,
)
QUALITY = Rubric(
    "quality",
    "Is the web page below worth keeping for a language model to learn from? It is when somebody wrote it to be "
    "read, it is about something, it can be understood on its own and it is not an advertisement, a list of links, "
    "a log or an error page.\nGive your reasons in one sentence, then write `score: 1` for yes or `score: 0` for no.",
    1,
)
REASONING = Rubric(
    "reasoning",
    "Does the web page below reason step by step about mathematics, science or programs: a derivation, a proof, a "
    "solved exercise, code with an explanation of it?\nGive your reasons in one sentence, then write `score: 1` for "
    "yes or `score: 0` for no.",
    1,
)
RUBRICS = {one.name: one for one in (EDUCATIONAL, QUALITY, REASONING)}


@dataclass(frozen=True)
class Labels:
    """points: of each document, NaN where no answer held any. agreement: of two askings, as Cohen's kappa with
    quadratic weights (Cohen 1968), NaN when asked once. unreadable: the share of answers without points."""

    points: NDArray[np.float64]
    agreement: float
    unreadable: float


def label(texts: Sequence[str], sampler: Sampler, rubric: Rubric, *, askings: int = 1) -> Labels:
    """Asks about every text `askings` times; the mean of the points counts.

    Raises DataError when more than half of the answers hold no points: then the model does not follow the
    rubric, and what the others say is chance.
    """
    asked = [rubric.ask(text) for text in texts]
    rounds = np.array([[rubric.points(answer) for answer in sampler.sample(asked)] for _ in range(askings)])
    unreadable = float(np.isnan(rounds).mean()) if rounds.size else 0.0
    if unreadable > 0.5:
        raise DataError(
            f"rubric {rubric.name}: {unreadable:.0%} of the model's answers hold no points; ask a larger model, or "
            "raise its max_tokens"
        )
    known = ~np.isnan(rounds)
    sums, counts = np.where(known, rounds, 0).sum(axis=0), known.sum(axis=0)
    points = np.where(counts > 0, sums / np.maximum(counts, 1), np.nan)
    agreement = weighted_kappa(rounds[0], rounds[1], rubric.highest) if askings > 1 else float("nan")
    return Labels(points, agreement, unreadable)


def weighted_kappa(first: NDArray[np.float64], second: NDArray[np.float64], highest: int) -> float:
    """Agreement beyond chance of two raters on 0..highest: 1 for equal, 0 for chance. Pairs with NaN are left out."""
    both = ~(np.isnan(first) | np.isnan(second))
    a, b = first[both].astype(int), second[both].astype(int)
    if not len(a):
        return float("nan")
    seen = np.zeros((highest + 1, highest + 1))
    np.add.at(seen, (a, b), 1)
    expected = np.outer(seen.sum(axis=1), seen.sum(axis=0)) / len(a)
    away = (np.arange(highest + 1)[:, None] - np.arange(highest + 1)[None, :]) ** 2
    chance = float((away * expected).sum())
    return 1.0 - float((away * seen).sum()) / chance if chance else 1.0
