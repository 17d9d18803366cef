"""What documents are about: labels for the data mix, and fewer documents of topics there are too many of."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import field, replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from herd.core.artifacts import Classifier, Corpus
from herd.core.errors import DataError, SettingsError, did_you_mean
from herd.core.records import Document
from herd.core.settings import InputFile, PositiveFloat, Share, settings
from herd.core.stage import Packages, Work, stage
from herd.core.storage import read_documents, write_documents
from herd.corpus.results import CorpusSize, TopicAccuracy, TopicCounts, TopicRecall, TopicSize
from herd.tokens.embeddings import WORDLLAMA
from herd.tokens.topics import Topics, topics_of

PACKAGED_TOPICS = Path(__file__).parent / "topics.yaml"
_MODEL, _WEIGHTS = "model.json", "weights.npz"


# ---- stages ----


@settings
class TopicSettings:
    """topics: a YAML file with a name and a few texts for each; none is the packaged 24 of web pages. keep: the
    share of documents of a topic that stays, for topics there are too many of; others stay. sources: those that are
    labelled, all when none is named. split_sources: whether a document's source becomes `SOURCE/TOPIC`, so that a
    mix can weigh topics."""

    topics: tuple[InputFile, ...] = ()
    keep: dict[str, Share] = field(default_factory=dict)
    sources: tuple[str, ...] = ()
    split_sources: bool = False


def _packages(**_: Any) -> Packages:
    return (WORDLLAMA,)


@stage(paper="3.1.2", version=1, packages=_packages)
def label_topics(work: Work, corpus: Corpus, classifier: Classifier | None, *, settings: TopicSettings) -> Corpus:
    """The documents with their topic in their notes, and fewer of the topics that `keep` names.

    classifier: of `train_topics`; without one topics are recognised by the texts in `settings.topics`.
    Source: Llama 3, 3.1.2, which labels the kind of information on a page and takes fewer of kinds that the web has
    too many of; it gives neither kinds nor rates. The packaged kinds are those of Wettig et al. 2025.
    """
    model = _model(classifier, settings)
    for name in settings.keep:
        if name not in model.names:
            raise SettingsError(f"label_topics: no topic is called {name!r}{did_you_mean(name, model.names)}")
    topic_counts, kept_counts = Counter[str](), Counter[str]()
    characters = Counter[str]()
    rejects: list[Document] = []

    def stays() -> Iterator[Document]:
        for document in _label(corpus, model, settings):
            topic = document.notes.get("topic")
            if topic is None:
                yield document
                continue
            topic_counts[topic] += 1
            if document.hash_fraction >= settings.keep.get(topic, 1.0):
                reject_notes = {"step": "topic", "reason": f"{settings.keep[topic]:.0%} of {topic} stay"}
                rejects.append(replace(document, notes={**document.notes, **reject_notes}))
                continue
            kept_counts[topic] += 1
            characters[topic] += len(document.text)
            yield _split_source(document) if settings.split_sources else document

    documents = write_documents(work.out, stays())
    write_documents(work.out, rejects, "rejects")
    work.record(CorpusSize(documents, documents + len(rejects)))
    sizes = {name: TopicSize(count, kept_counts[name], characters[name]) for name, count in topic_counts.items()}
    work.record(TopicCounts(dict(sorted(sizes.items(), key=lambda size: -size[1].documents))))
    work.headline = ", ".join(f"{n:,} {name}" for name, n in topic_counts.most_common(3))
    return Corpus(work.out)


def _model(classifier: Classifier | None, settings: TopicSettings) -> Topics:
    if classifier is None:
        return Topics.from_examples(topics_of(settings.topics, PACKAGED_TOPICS))
    names = json.loads((classifier.verify().path / _MODEL).read_text(encoding="utf-8"))["topics"]
    with np.load(classifier.path / _WEIGHTS, allow_pickle=False) as arrays:
        return Topics(names, arrays["weights"])


def _label(corpus: Corpus, model: Topics, settings: TopicSettings) -> Iterator[Document]:
    documents = read_documents(corpus.path)
    while batch := list(islice(documents, 1000)):
        judged_mask = [not settings.sources or document.source in settings.sources for document in batch]
        shares = iter(
            model.shares([document.text for document, judged in zip(batch, judged_mask, strict=True) if judged])
        )
        for document, judged in zip(batch, judged_mask, strict=True):
            if not judged:
                yield document
                continue
            share = next(shares)
            best = int(share.argmax())
            notes = {"topic": model.names[best], "topic_share": round(float(share[best]), 3)}
            yield replace(document, notes={**document.notes, **notes})


def _split_source(document: Document) -> Document:
    return replace(document, source=f"{document.source}/{document.notes['topic']}")


@settings
class TrainTopicsSettings:
    """held_out_share: the share of labelled documents that accuracy is measured on. ridge: how strongly weights are
    held small."""

    held_out_share: Share = 0.2
    ridge: PositiveFloat = 1e-4
    seed: int = 0


@stage(paper="3.1.2", version=1, packages=_packages)
def train_topics(work: Work, labelled: Corpus, *, settings: TrainTopicsSettings) -> Classifier:
    """A model of the topics in the documents' notes, `topic`, with its accuracy on held-out ones."""
    documents = [document for document in read_documents(labelled.path) if document.notes.get("topic")]
    if len({document.notes["topic"] for document in documents}) < 2:
        raise DataError(f"{labelled.path}: fewer than two topics in the notes of its documents; label them first")
    order = np.random.default_rng(settings.seed).permutation(len(documents))
    cut = round(settings.held_out_share * len(documents))
    test_documents = [documents[k] for k in order[:cut]]
    train_documents = [documents[k] for k in order[cut:]]
    model = Topics.fit(
        [document.text for document in train_documents],
        [document.notes["topic"] for document in train_documents],
        settings.ridge,
    )
    (work.out / _MODEL).write_text(json.dumps({"topics": model.names}), encoding="utf-8")
    np.savez(work.out / _WEIGHTS, weights=model.weights)
    labels = [document.notes["topic"] for document in test_documents]
    accuracy, recall = topic_accuracy(model.shares, [document.text for document in test_documents], labels, model.names)
    work.record(TopicAccuracy(len(train_documents), accuracy, recall))
    work.headline = f"{accuracy:.0%} of {cut:,} held-out labels right"
    return Classifier(work.out)


def topic_accuracy(
    shares: Callable[[Sequence[str]], NDArray[np.float64]],
    texts: Sequence[str],
    labels: Sequence[str],
    names: Sequence[str],
) -> tuple[float, dict[str, TopicRecall]]:
    """Accuracy, and for each label how many there are and how many were found."""
    if not texts:
        return float("nan"), {}
    predictions = [names[best] for best in shares(texts).argmax(axis=1).tolist()]
    right = Counter(label for label, prediction in zip(labels, predictions, strict=True) if label == prediction)
    recall = {label: TopicRecall(count, right[label]) for label, count in Counter(labels).most_common()}
    return right.total() / len(texts), recall
