"""RULER's questions about documents: the right ones among others.

Source: Hsieh et al. 2024 (RULER), 3.4; its code `qa.py` for the words of the prompts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

import numpy as np

from herd.core.errors import DataError
from herd.core.rowfiles import RowError, iter_rows
from herd.core.seeds import rng
from herd.evals.rows import files_of
from herd.evals.sized import PromptDraw, SizedPrompt, TokenCounts, most_that_fit

_ASK = "Answer the question based on the given documents. Only give me the answer and do not output any other words."
_POOL = 5_000  # documents that are mixed in, each counted once
_QUESTIONS = 500  # whose documents are among them


@dataclass(frozen=True)
class DocumentQuestion:
    """A question, what answers it, and the numbers of the documents that do. near: of others on the same subject, which
    are mixed in first."""

    question: str
    answers: tuple[str, ...]
    documents: tuple[int, ...]
    near: tuple[int, ...] = ()


def _rows(data: str) -> list[Mapping[str, Any]]:
    rows = []
    for file in files_of(data):
        for number, row in iter_rows(file):
            if isinstance(row, RowError) or not isinstance(row, Mapping):
                raise DataError(f"{file}, row {number}: {row if isinstance(row, RowError) else 'no object'}; mend it")
            rows.append(row)
    return rows


def read_squad(data: str) -> tuple[list[DocumentQuestion], list[str]]:
    """The answerable questions of SQuAD 2 as it is released (`data`, `paragraphs`, `qas`), and all its paragraphs.

    Raises DataError for a file of another form."""
    try:
        articles = list(chain.from_iterable(row["data"] for row in _rows(data)))
        parts = chain.from_iterable(article["paragraphs"] for article in articles)
        paragraphs = sorted({part["context"] for part in parts})
        numbers = {text: number for number, text in enumerate(paragraphs)}
        questions = []
        for article in articles:
            own = [numbers[part["context"]] for part in article["paragraphs"]]
            for part, number in zip(article["paragraphs"], own, strict=True):
                near = tuple(neighbour for neighbour in own if neighbour != number)
                for qa in part["qas"]:
                    if not qa.get("is_impossible"):
                        answers = tuple(dict.fromkeys(answer["text"] for answer in qa["answers"]))
                        questions.append(DocumentQuestion(qa["question"], answers, (number,), near))
    except (KeyError, TypeError) as fault:
        raise DataError(f"{data} is not SQuAD as it is released (no {fault}); name its file dev-v2.0.json") from None
    return questions, paragraphs


def read_hotpot(data: str) -> tuple[list[DocumentQuestion], list[str]]:
    """The questions of HotpotQA as it is released (`question`, `answer`, `context` of titles and sentences), and all
    its paragraphs.

    Raises DataError for a file of another form."""
    try:
        rows = [(row["question"], str(row["answer"]), _hotpot_documents(row["context"])) for row in _rows(data)]
    except (KeyError, TypeError, ValueError) as fault:
        raise DataError(
            f"{data} is not HotpotQA as it is released ({fault}); name its file hotpot_dev_distractor_v1.json"
        ) from None
    paragraphs = sorted(set(chain.from_iterable(documents for _, _, documents in rows)))
    numbers = {text: number for number, text in enumerate(paragraphs)}
    questions = [
        DocumentQuestion(question, (answer,), tuple(map(numbers.__getitem__, documents)))
        for question, answer, documents in rows
    ]
    return questions, paragraphs


def _hotpot_documents(context: Any) -> list[str]:
    """Of the original release, pairs of a title and sentences; of a folder of the Hub, both as columns."""
    pairs = zip(context["title"], context["sentences"], strict=True) if isinstance(context, Mapping) else context
    return list(dict.fromkeys(f"{title}\n{''.join(sentences)}" for title, sentences in pairs))


class DocumentPrompts:
    """Prompts that ask questions, in order, about numbered documents: those that answer one and others. A unit is one
    of the others.

    Differs: others on other subjects are drawn from 5,000 documents, those of the first questions among them, and not
    from all. Source: Hsieh et al. 2024 (RULER), 3.4.
    """

    least_units = 0

    def __init__(self, questions: Sequence[DocumentQuestion], documents: Sequence[str], *, seed: int) -> None:
        if not questions:
            raise DataError("the file holds no question with an answer; name a whole release")
        self._questions, self._documents = questions, documents
        numbers = rng(seed, "documents").sample(range(len(documents)), len(documents))
        first = chain.from_iterable(question.documents for question in questions[:_QUESTIONS])
        self._pool = np.array(list(dict.fromkeys([*first, *numbers]))[:_POOL])
        self._costs = np.full(len(documents), -1, np.int64)
        self._numbers = np.zeros(0, np.int64)
        self.most_units = len(documents)

    def _draw(self, draw: PromptDraw) -> tuple[DocumentQuestion, np.ndarray, np.random.Generator]:
        """The question, the numbers of the others in the order in which they are taken, and what mixes them all."""
        question = self._questions[draw.number % len(self._questions)]
        order = np.random.default_rng(draw.chance().getrandbits(64))
        near = order.permutation(np.array(question.near, np.int64))
        far = order.permutation(self._pool)
        subject = np.array([*question.documents, *question.near])
        return question, np.concatenate([near, far[~np.isin(far, subject)]]), order

    def fit(self, draw: PromptDraw, budget: int, counts: TokenCounts) -> tuple[int, int]:
        question, distractors, _ = self._draw(draw)
        numbers = self._count_numbers(counts)
        own = len(question.documents)
        tokens = counts.total([f" {question.question}"], before=":")
        tokens += int((self._count(np.array(question.documents), counts) + numbers[:own]).sum())
        # Few at first: what a document takes is counted when it is first looked at.
        looked_at, costs = 0, np.zeros(0, np.int64)
        while looked_at < len(distractors) and costs.sum() <= budget - tokens:
            looked_at = min(len(distractors), 2 * looked_at + 8)
            costs = self._count(distractors[:looked_at], counts) + numbers[own : own + looked_at]
        units = most_that_fit(costs, budget - tokens)
        return units, tokens + int(costs[:units].sum())

    def _count_numbers(self, counts: TokenCounts) -> np.ndarray:
        """The tokens by which the number of each place is longer than the first one's. [documents]"""
        if not len(self._numbers):
            numbers = counts.of([f" {number}:" for number in range(1, len(self._documents) + 1)], before="t")
            self._numbers = numbers - numbers[0]
        return self._numbers

    def _count(self, numbers: np.ndarray, counts: TokenCounts) -> np.ndarray:
        """The tokens of documents by their numbers, each as if it stood first. [documents]"""
        new = numbers[self._costs[numbers] < 0]
        if len(new):
            texts = [f"Document 1:\n{self._documents[number]}\n\n" for number in new]
            self._costs[new] = counts.of(texts, before="\n\n")
        return self._costs[numbers]

    def render(self, draw: PromptDraw, units: int) -> SizedPrompt:
        question, distractors, order = self._draw(draw)
        numbers = order.permutation(np.concatenate([np.array(question.documents), distractors[:units]])).tolist()
        context = "\n\n".join([f"Document {place}:\n{self._documents[n]}" for place, n in enumerate(numbers, 1)])
        text = f"{_ASK}\n\nThe following are given documents.\n\n{context}\n\n{_ASK}\n\nQuestion: {question.question}"
        return SizedPrompt(text, question.answers, "Answer:")
