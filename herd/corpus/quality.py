"""Small models that say how good a document is: learnt from good and bad examples, or from a larger model's labels."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import islice
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from herd.core.artifacts import Classifier, Corpus
from herd.core.errors import DataError
from herd.core.extras import import_extra
from herd.core.records import Document
from herd.core.settings import Positive, Rate, Share, settings
from herd.core.stage import Work, stage
from herd.core.storage import read_documents, write_documents
from herd.corpus.results import CalibrationBin, CorpusSize, PointsAccuracy, QualityAccuracy, QualityThreshold
from herd.tokens.embeddings import embed

Scores = NDArray[np.float64]
_MODEL, _WEIGHTS = "model.json", "weights.npz"


@settings
class QualitySettings:
    """head: `words` is fastText on words and pairs of them, as DCLM and Llama 3 use; `embeddings` a linear model on
    static embeddings, thousands of documents a second without a compiler. held_out: the share of examples that
    the model is measured on. ridge: how strongly the embeddings' weights are held small. epochs, rate, pairs:
    fastText's; pairs of words count when it is 2."""

    head: Literal["words", "embeddings"] = "embeddings"
    held_out: Share = 0.2
    ridge: Rate = 1e-3
    epochs: Positive = 5
    rate: Rate = 0.1
    pairs: Positive = 2
    seed: int = 0


class Embedded:
    """A linear model on static embeddings. weights: [257], the last one the bias. scale: `share` squashes to 0..1."""

    def __init__(self, weights: Scores, *, squash: bool) -> None:
        self.weights, self.squash = weights, squash

    def score(self, texts: Sequence[str]) -> Scores:
        values = embed(texts).astype(np.float64) @ self.weights[:-1] + self.weights[-1]
        return 1 / (1 + np.exp(-values)) if self.squash else values

    @classmethod
    def fit(cls, texts: Sequence[str], targets: Scores, ridge: float, *, squash: bool) -> Embedded:
        """Logistic regression on targets of 0 and 1, or least squares on points; both with a ridge, both convex."""
        from scipy.optimize import minimize  # scipy takes most of a second, which planning has no use for

        inputs = np.hstack([embed(texts).astype(np.float64), np.ones((len(texts), 1))])
        if not squash:
            held = ridge * len(texts) * np.eye(inputs.shape[1])
            held[-1, -1] = 0
            return cls(
                np.asarray(np.linalg.solve(inputs.T @ inputs + held, inputs.T @ targets), np.float64), squash=False
            )

        def loss(weights: Scores) -> tuple[float, Scores]:
            values = inputs @ weights
            away = 1 / (1 + np.exp(-values)) - targets
            held = ridge * np.concatenate([weights[:-1], [0.0]])
            value = np.logaddexp(0, values).mean() - (targets * values).mean() + 0.5 * held @ weights
            return float(value), inputs.T @ away / len(targets) + held

        found = minimize(loss, np.zeros(inputs.shape[1]), jac=True, method="L-BFGS-B", options={"maxiter": 500})
        return cls(found.x, squash=True)


class Worded:
    """fastText on words and their pairs."""

    def __init__(self, model: Any) -> None:
        self._model = model

    def score(self, texts: Sequence[str]) -> Scores:
        found = [self._model.predict(_line(text), k=2) for text in texts]
        return np.array(
            [dict(zip(labels, chances, strict=True)).get("__label__good", 0.0) for labels, chances in found]
        )


def _fasttext() -> Any:
    fasttext = import_extra("fasttext", "quality", "the head `words`")
    fasttext.FastText.eprint = lambda *words: None
    return fasttext


def _line(text: str) -> str:
    return " ".join(text[:20_000].lower().split())


@stage(paper="3.1.1", version=1)
def train_quality(work: Work, good: Corpus, bad: Corpus, *, settings: QualitySettings) -> Classifier:
    """A model that tells documents like those of `good` from those like `bad`, with its AUROC on held-out ones."""
    texts = [[document.text for document in read_documents(corpus.path)] for corpus in (good, bad)]
    targets = np.repeat([1.0, 0.0], [len(own) for own in texts])
    return _train(work, [*texts[0], *texts[1]], targets, settings, squash=True)


@stage(paper="3.1.1", version=1)
def train_scorer(work: Work, labelled: Corpus, *, settings: QualitySettings) -> Classifier:
    """A model of the points that a larger one gave: each document's `points` in its notes.

    Source: Penedo et al. 2024, 4 (FineWeb-Edu): a regression head on frozen embeddings.
    """
    documents = [one for one in read_documents(labelled.path) if "points" in one.notes]
    if not documents:
        raise DataError(f"{labelled.path}: no document has `points` in its notes; label them first")
    points = np.array([float(one.notes["points"]) for one in documents])
    return _train(work, [one.text for one in documents], points, settings, squash=False)


def _train(work: Work, texts: list[str], targets: Scores, settings: QualitySettings, *, squash: bool) -> Classifier:
    chance = np.random.default_rng(settings.seed)
    order = chance.permutation(len(texts))
    cut = round(settings.held_out * len(texts))
    held, learnt = order[:cut], order[cut:]
    if not squash and settings.head == "words":
        raise DataError("points are learnt on embeddings; set head to embeddings")
    own = [texts[k] for k in learnt]
    (work.out / _MODEL).write_text(json.dumps({"head": settings.head, "squash": squash}), encoding="utf-8")
    if settings.head == "words":
        model: Embedded | Worded = _train_words(work, own, targets[learnt], settings)
    else:
        model = Embedded.fit(own, targets[learnt], settings.ridge, squash=squash)
        np.savez(work.out / _WEIGHTS, weights=model.weights)
    scores = model.score([texts[k] for k in held])
    if squash:
        accuracy = quality_accuracy(scores, targets[held], examples=len(learnt))
        work.headline = f"auroc {accuracy.auroc:.3f}"
    else:
        accuracy = points_accuracy(scores, targets[held], examples=len(learnt))
        work.headline = (
            f"mean error {accuracy.mean_error:.3f}, rank correlation {accuracy.rank_correlation:.3f}, "
            f"F1 at 3 {accuracy.f1_at_3:.3f}"
        )
    work.record(accuracy)
    return Classifier(work.out)


def _train_words(work: Work, texts: Sequence[str], targets: Scores, settings: QualitySettings) -> Worded:
    fasttext = _fasttext()
    file = work.scratch / "examples.txt"
    with file.open("w", encoding="utf-8") as out:
        for text, target in zip(texts, targets, strict=True):
            out.write(f"__label__{'good' if target else 'bad'} {_line(text)}\n")
    model = _steady(fasttext, str(file), settings)
    model.save_model(str(work.out / "model.bin"))
    return Worded(model)


def _steady(fasttext: Any, file: str, settings: QualitySettings) -> Any:
    """A trained model. Once in a long while fastText gives up over a loss that is no number, although the same examples
    at the same rate do well: it is asked again, then at half the rate. Raises DataError when that does not help."""
    for rate in (settings.rate, settings.rate, settings.rate / 2):
        try:
            return fasttext.train_supervised(
                file, lr=rate, epoch=settings.epochs, wordNgrams=settings.pairs, thread=1, verbose=0, bucket=200_000
            )
        except RuntimeError as fault:
            if "NaN" not in str(fault):
                raise
    raise DataError(f"fastText's loss is no number at rates down to {settings.rate / 2:g}; set a lower rate")


def load_quality(classifier: Classifier) -> Embedded | Worded:
    """The model in a Classifier's folder; its files are compared with their hashes first."""
    row = json.loads((classifier.verify().path / _MODEL).read_text(encoding="utf-8"))
    if row["head"] == "words":
        return Worded(_fasttext().load_model(str(classifier.path / "model.bin")))
    with np.load(classifier.path / _WEIGHTS, allow_pickle=False) as held:
        return Embedded(held["weights"], squash=row["squash"])


# ---- accuracy ----


def auroc(scores: Scores, targets: Scores) -> float:
    """The chance that a good one scores above a bad one; ties count half."""
    from scipy.stats import rankdata

    good = targets > 0.5
    if good.all() or not good.any():
        return float("nan")
    ranks = rankdata(scores)
    return float((ranks[good].sum() - good.sum() * (good.sum() + 1) / 2) / (good.sum() * (~good).sum()))


def quality_accuracy(scores: Scores, targets: Scores, *, examples: int = 0) -> QualityAccuracy:
    """AUROC, and calibration: mean score and share of good ones in five groups of like score."""
    groups = np.array_split(np.argsort(scores), 5)
    bins = [CalibrationBin(float(scores[own].mean()), float(targets[own].mean())) for own in groups if len(own)]
    return QualityAccuracy(examples, auroc(scores, targets), tuple(bins))


def points_accuracy(scores: Scores, points: Scores, *, examples: int = 0) -> PointsAccuracy:
    """Mean error, rank correlation, and F1 of the question whether a document has 3 points or more."""
    from scipy.stats import rankdata

    said, true = np.clip(np.rint(scores), 0, 5) >= 3, points >= 3
    both = int((said & true).sum())
    f1 = 2 * both / max(1, int(said.sum() + true.sum()))
    ranks = np.corrcoef(rankdata(scores), rankdata(points))[0, 1] if len(points) > 2 else float("nan")
    return PointsAccuracy(examples, float(np.abs(scores - points).mean()), float(ranks), f1)


# ---- keeping the best ----


@settings
class KeepSettings:
    """Which documents stay: the `share` that scores highest, or all that score at least `at_least` when that is
    given; sources: those that are judged, all when none is named."""

    share: Share = 0.1
    at_least: float | None = None
    sources: tuple[str, ...] = ()


@stage(paper="3.1.1", version=1)
def keep_best(work: Work, corpus: Corpus, classifier: Classifier, *, settings: KeepSettings) -> Corpus:
    """The documents that score highest, with their score in their notes; the others are in `rejects`."""
    model = load_quality(classifier)
    judged = (document for document in read_documents(corpus.path) if _is_judged(document, settings))
    scores = np.concatenate([np.empty(0), *(model.score([one.text for one in some]) for some in _groups(judged))])
    least = settings.at_least if settings.at_least is not None else _quantile(scores, settings.share)
    kept = write_documents(work.out, _scored(corpus, scores, settings, lambda score: score >= least))
    why = {"step": "quality", "reason": f"scores below {least:.4g}"}
    gone = _scored(corpus, scores, settings, lambda score: score < least, why)
    rejected = write_documents(work.out, gone, "rejects")
    work.record(QualityThreshold(float(least)))
    work.record(CorpusSize(kept, kept + rejected))
    work.headline = f"{kept:,} of {kept + rejected:,} documents kept, those that score {least:.4g} or more"
    return Corpus(work.out)


def _scored(
    corpus: Corpus,
    scores: Scores,
    settings: KeepSettings,
    wanted: Callable[[float], bool],
    why: Mapping[str, str] | None = None,
) -> Iterator[Document]:
    """Documents whose score is wanted, with it in their notes; with `why` only those, else also those not judged."""
    own = iter(scores.tolist())
    for document in read_documents(corpus.path):
        if not _is_judged(document, settings):
            if why is None:
                yield document
            continue
        score = next(own)
        if wanted(score):
            yield _noted(document, {**(why or {}), "quality": score})


def _is_judged(document: Document, settings: KeepSettings) -> bool:
    return not settings.sources or document.source in settings.sources


def _quantile(scores: Scores, share: float) -> float:
    """The score that `share` of them reach."""
    if not len(scores):
        return 0.0
    return float(np.sort(scores)[::-1][min(len(scores) - 1, max(0, round(share * len(scores)) - 1))])


def _groups(documents: Iterator[Document]) -> Iterator[list[Document]]:
    while some := list(islice(documents, 1000)):
        yield some


def _noted(document: Document, notes: dict[str, Any]) -> Document:
    return replace(document, notes={**document.notes, **notes})
