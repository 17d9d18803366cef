"""What a language model says about documents, as labels for a small classifier to learn from."""

from __future__ import annotations

import heapq
import json
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from herd.core.artifacts import Corpus, atomic_write
from herd.core.errors import DataError
from herd.core.manifests import verify_checksum, with_checksum
from herd.core.records import Conversation, Document, Message
from herd.core.settings import InputFile, NotInKey, PositiveInt, settings
from herd.core.stage import Work, stage
from herd.core.storage import read_documents, write_documents
from herd.corpus.results import CorpusSize, LabelCounts
from herd.corpus.topics import PACKAGED_TOPICS
from herd.generate.samplers import EndpointSampler, Sampler
from herd.judge.agreement import weighted_kappa
from herd.judge.rubric import SCORE_PATTERN, points_in
from herd.tokens.topics import topics_of

_BATCH_DOCUMENTS = 64  # documents that are asked about before answers are kept
READ_CHARACTERS = 3_000  # of a document that the model is shown


@dataclass(frozen=True)
class Rubric:
    """What a model is asked about a document. question: shown above it. highest: of the points it may give; they
    start at 0. parse: where the points stand in its answer."""

    name: str
    question: str
    highest: int
    parse: str = SCORE_PATTERN

    def ask(self, text: str) -> Conversation:
        return _question_about(self.question, text)

    def points(self, answer: str) -> float:
        """The points in an answer, the last ones when there are several; NaN when there are none or too many."""
        points = points_in(answer, 0, self.highest, self.parse)
        return float("nan") if points is None else points


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
LABEL_RUBRICS = {rubric.name: rubric for rubric in (EDUCATIONAL, QUALITY, REASONING)}


def label_topic(texts: Sequence[str], sampler: Sampler, topics: Sequence[str]) -> list[str]:
    """The topic that a model names for each text, empty where it names none of `topics`.

    Raises DataError when more than half of the answers name none.
    """
    topic_list = "\n".join(f"- {name}" for name in topics)
    question = (
        f"Which of these is the web page below about most?\n{topic_list}\nWrite `topic: ` and its name as listed."
    )
    names = {name.lower(): name for name in topics}
    labels = []
    for answer in sampler.sample([_question_about(question, text) for text in texts]):
        matches = re.findall(r"(?i)topic\W{0,12}([a-z][^\n`*\"]*)", answer)
        labels.append(names.get(matches[-1].strip(" .").lower(), "") if matches else "")
    if texts and labels.count("") > 0.5 * len(texts):
        raise DataError(f"{labels.count('') / len(texts):.0%} of the model's answers name no topic; ask a larger model")
    return labels


def _question_about(question: str, text: str) -> Conversation:
    content = f"{question}\n\n<document>\n{text[:READ_CHARACTERS]}\n</document>"
    return Conversation((Message("user", content),))


@dataclass(frozen=True)
class Labels:
    """points: of each document, NaN where no answer held any. agreement: of two samples, as Cohen's kappa with
    quadratic weights (Cohen 1968), NaN when there is one. unreadable: the share of answers without points."""

    points: NDArray[np.float64]
    agreement: float
    unreadable: float


def label_texts(texts: Sequence[str], sampler: Sampler, rubric: Rubric, *, num_samples: int = 1) -> Labels:
    """Asks about every text `num_samples` times; the mean of the points counts.

    Raises DataError when more than half of the answers hold no points: then the model does not follow the
    rubric, and what the others say is chance.
    """
    conversations = [rubric.ask(text) for text in texts]
    points_of_rounds = []
    for _ in range(num_samples):
        points_of_rounds.append([rubric.points(answer) for answer in sampler.sample(conversations)])
    rounds = np.array(points_of_rounds)
    unreadable = float(np.isnan(rounds).mean()) if rounds.size else 0.0
    if unreadable > 0.5:
        raise DataError(
            f"rubric {rubric.name}: {unreadable:.0%} of the model's answers hold no points; ask a larger model, or "
            "raise its max_tokens"
        )
    readable = ~np.isnan(rounds)
    sums, counts = np.where(readable, rounds, 0).sum(axis=0), readable.sum(axis=0)
    points = np.where(counts > 0, sums / np.maximum(counts, 1), np.nan)
    agreement = weighted_kappa(rounds[0], rounds[1], rubric.highest) if num_samples > 1 else float("nan")
    return Labels(points, agreement, unreadable)


# ---- the stage ----


@settings
class LabelSettings:
    """model: as the server calls it. rubric: one of LABEL_RUBRICS, or `topic`. documents: how many are asked about,
    drawn by their ids. num_samples: how often about each; with two or more their agreement is measured. topics: files
    with the topics to choose from, as `label_topics` takes them. api_key_env: the environment variable with the access
    key."""

    model: str
    rubric: Literal["educational", "quality", "reasoning", "topic"] = "educational"
    documents: PositiveInt = 2_000
    num_samples: PositiveInt = 1
    topics: tuple[InputFile, ...] = ()
    api_key_env: str = ""


@stage(paper="3.1.1", version=1)
def label_documents(work: Work, corpus: Corpus, *, settings: LabelSettings, url: NotInKey[str]) -> Corpus:
    """Some documents with what a model says of them in their notes: `points` for train_scorer, or `topic` for
    train_topics. Answers are kept as they come: a run that is stopped goes on where it was.

    url: of a server with OpenAI's endpoints, up to `/v1`.
    Source: Llama 3, 3.1.1 (labels by Llama 2); Penedo et al. 2024, 4.
    """
    sampler = EndpointSampler(url, settings.model, settings.api_key_env)
    chosen = heapq.nsmallest(
        settings.documents, read_documents(corpus.path), key=lambda document: document.hash_fraction
    )
    topics = topics_of(settings.topics, PACKAGED_TOPICS)
    labelled: list[Document] = []
    agreements: list[float] = []
    for at in range(0, len(chosen), _BATCH_DOCUMENTS):
        work.progress(at, len(chosen), f"{len(labelled):,} documents labelled")
        batch = chosen[at : at + _BATCH_DOCUMENTS]
        answer_path = work.scratch / f"{at:08}.json"
        try:
            answers = verify_checksum(json.loads(answer_path.read_text(encoding="utf-8")))
        except (FileNotFoundError, ValueError):  # not asked yet, or the answer is damaged
            answers = _ask(batch, sampler, settings, tuple(topics))
            atomic_write(answer_path, json.dumps(with_checksum(answers)))
        labelled += [
            replace(document, notes={**document.notes, **note})
            for document, note in zip(batch, answers["notes"], strict=True)
            if note
        ]
        agreements += [answers["agreement"]] if answers["agreement"] is not None else []
    write_documents(work.out, labelled)
    values = Counter(str(document.notes.get("topic", document.notes.get("points"))) for document in labelled)
    work.record(CorpusSize(len(labelled), len(chosen)))
    work.record(
        LabelCounts(
            documents=len(chosen),
            unreadable=1 - len(labelled) / max(1, len(chosen)),
            agreement=float(np.mean(agreements)) if agreements else None,
            labels=dict(sorted(values.items())),
        )
    )
    work.headline = f"{len(labelled):,} of {len(chosen):,} documents labelled"
    return Corpus(work.out)


def _ask(
    documents: list[Document], sampler: Sampler, settings: LabelSettings, topics: tuple[str, ...]
) -> dict[str, Any]:
    texts = [document.text for document in documents]
    if settings.rubric == "topic":
        topic_labels = label_topic(texts, sampler, topics)
        return {"notes": [{"topic": topic} if topic else {} for topic in topic_labels], "agreement": None}
    labels = label_texts(texts, sampler, LABEL_RUBRICS[settings.rubric], num_samples=settings.num_samples)
    notes = [{} if np.isnan(value) else {"points": float(value)} for value in labels.points]
    return {"notes": notes, "agreement": None if np.isnan(labels.agreement) else labels.agreement}
