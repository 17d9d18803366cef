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
from herd.core.extras import ExtraPackage, import_extra
from herd.core.records import Document
from herd.core.settings import PositiveFloat, PositiveInt, Share, settings
from herd.core.stage import Packages, Work, stage
from herd.core.storage import read_documents, write_documents
from herd.corpus.results import CorpusSize, PointsAccuracy, QualityAccuracy, QualityBin, QualityThreshold
from herd.tokens.embeddings import WORDLLAMA, embed

ScoreArray = NDArray[np.float64]
_MODEL, _WEIGHTS = "model.json", "weights.npz"
FASTTEXT = ExtraPackage("fasttext", "quality", "the head `words`")


@settings
class QualitySettings:
    """head: `words` is fastText on words and pairs of them, as DCLM and Llama 3 use; `embeddings` a linear model on
    static embeddings, thousands of documents a second without a compiler. held_out_share: the share of examples that
    the model is measured on. ridge: how strongly the embeddings' weights are held small. epochs, lr, word_ngrams:
    fastText's; pairs of words count when it is 2."""

    head: Literal["words", "embeddings"] = "embeddings"
    held_out_share: Share = 0.2
    ridge: PositiveFloat = 1e-3
    epochs: PositiveInt = 5
    lr: PositiveFloat = 0.1
    word_ngrams: PositiveInt = 2
    seed: int = 0


class EmbeddingClassifier:
    """A linear model on static embeddings. weights: [257], the last one the bias. squash: scores to 0..1."""

    def __init__(self, weights: ScoreArray, *, squash: bool) -> None:
        self.weights, self.squash = weights, squash

    def score(self, texts: Sequence[str]) -> ScoreArray:
        values = embed(texts).astype(np.float64) @ self.weights[:-1] + self.weights[-1]
        return 1 / (1 + np.exp(-values)) if self.squash else values

    @classmethod
    def fit(cls, texts: Sequence[str], targets: ScoreArray, ridge: float, *, squash: bool) -> EmbeddingClassifier:
        """Logistic regression on targets of 0 and 1, or least squares on points; both with a ridge, both convex."""
        from scipy.optimize import minimize  # scipy takes most of a second, which planning has no use for

        inputs = np.hstack([embed(texts).astype(np.float64), np.ones((len(texts), 1))])
        if not squash:
            penalty = ridge * len(texts) * np.eye(inputs.shape[1])
            penalty[-1, -1] = 0
            return cls(
                np.asarray(np.linalg.solve(inputs.T @ inputs + penalty, inputs.T @ targets), np.float64), squash=False
            )

        def loss(weights: ScoreArray) -> tuple[float, ScoreArray]:
            values = inputs @ weights
            residuals = 1 / (1 + np.exp(-values)) - targets
            weight_penalty = ridge * np.concatenate([weights[:-1], [0.0]])
            value = np.logaddexp(0, values).mean() - (targets * values).mean() + 0.5 * weight_penalty @ weights
            return float(value), inputs.T @ residuals / len(targets) + weight_penalty

        optimum = minimize(loss, np.zeros(inputs.shape[1]), jac=True, method="L-BFGS-B", options={"maxiter": 500})
        return cls(optimum.x, squash=True)


class FastTextClassifier:
    """fastText on words and their pairs."""

    def __init__(self, model: Any) -> None:
        self._fasttext_model = model

    def score(self, texts: Sequence[str]) -> ScoreArray:
        predictions = [self._fasttext_model.predict(_line(text), k=2) for text in texts]
        return np.array(
            [dict(zip(labels, chances, strict=True)).get("__label__good", 0.0) for labels, chances in predictions]
        )


def _fasttext() -> Any:
    fasttext = import_extra(FASTTEXT)
    fasttext.FastText.eprint = lambda *words: None
    return fasttext


def _line(text: str) -> str:
    return " ".join(text[:20_000].lower().split())


def _packages(*, settings: QualitySettings) -> Packages:
    return (FASTTEXT if settings.head == "words" else WORDLLAMA,)


@stage(paper="3.1.1", version=1, packages=_packages)
def train_quality(work: Work, good: Corpus, bad: Corpus, *, settings: QualitySettings) -> Classifier:
    """A model that tells documents like those of `good` from those like `bad`, with its AUROC on held-out ones."""
    good_texts, bad_texts = _read_texts(good), _read_texts(bad)
    targets = np.repeat([1.0, 0.0], [len(good_texts), len(bad_texts)])
    return _train(work, good_texts + bad_texts, targets, settings, squash=True)


def _read_texts(corpus: Corpus) -> list[str]:
    return [document.text for document in read_documents(corpus.path)]


@stage(paper="3.1.1", version=1, packages=_packages)
def train_scorer(work: Work, labelled: Corpus, *, settings: QualitySettings) -> Classifier:
    """A model of the points that a larger one gave: each document's `points` in its notes.

    Source: Penedo et al. 2024, 4 (FineWeb-Edu): a regression head on frozen embeddings.
    """
    documents = [document for document in read_documents(labelled.path) if "points" in document.notes]
    if not documents:
        raise DataError(f"{labelled.path}: no document has `points` in its notes; label them first")
    points = np.array([float(document.notes["points"]) for document in documents])
    return _train(work, [document.text for document in documents], points, settings, squash=False)


def _train(work: Work, texts: list[str], targets: ScoreArray, settings: QualitySettings, *, squash: bool) -> Classifier:
    rng = np.random.default_rng(settings.seed)
    order = rng.permutation(len(texts))
    cut = round(settings.held_out_share * len(texts))
    test_rows, train_rows = order[:cut], order[cut:]
    if not squash and settings.head == "words":
        raise DataError("points are learnt on embeddings; set head to embeddings")
    train_texts = [texts[k] for k in train_rows]
    (work.out / _MODEL).write_text(json.dumps({"head": settings.head, "squash": squash}), encoding="utf-8")
    if settings.head == "words":
        model: EmbeddingClassifier | FastTextClassifier = _train_words(work, train_texts, targets[train_rows], settings)
    else:
        model = EmbeddingClassifier.fit(train_texts, targets[train_rows], settings.ridge, squash=squash)
        np.savez(work.out / _WEIGHTS, weights=model.weights)
    scores = model.score([texts[k] for k in test_rows])
    if squash:
        accuracy = quality_accuracy(scores, targets[test_rows], examples=len(train_rows))
        work.headline = f"auroc {accuracy.auroc:.3f}"
    else:
        accuracy = points_accuracy(scores, targets[test_rows], examples=len(train_rows))
        work.headline = (
            f"mean error {accuracy.mean_error:.3f}, rank correlation {accuracy.rank_correlation:.3f}, "
            f"F1 at 3 {accuracy.f1_at_3:.3f}"
        )
    work.record(accuracy)
    return Classifier(work.out)


def _train_words(
    work: Work, texts: Sequence[str], targets: ScoreArray, settings: QualitySettings
) -> FastTextClassifier:
    fasttext = _fasttext()
    file = work.scratch / "examples.txt"
    with file.open("w", encoding="utf-8") as out:
        for text, target in zip(texts, targets, strict=True):
            out.write(f"__label__{'good' if target else 'bad'} {_line(text)}\n")
    model = _train_fasttext(fasttext, str(file), settings)
    model.save_model(str(work.out / "model.bin"))
    return FastTextClassifier(model)


def _train_fasttext(fasttext: Any, file: str, settings: QualitySettings) -> Any:
    """A trained model. Once in a long while fastText gives up over a loss that is no number, although the same examples
    at the same rate do well: it is asked again, then at half the rate. Raises DataError when that does not help."""
    for lr in (settings.lr, settings.lr, settings.lr / 2):
        try:
            return fasttext.train_supervised(
                file, lr=lr, epoch=settings.epochs, wordNgrams=settings.word_ngrams, thread=1, verbose=0, bucket=200_000
            )
        except RuntimeError as fault:
            if "NaN" not in str(fault):
                raise
    raise DataError(f"fastText's loss is no number at rates down to {settings.lr / 2:g}; set a lower rate")


def load_quality(classifier: Classifier) -> EmbeddingClassifier | FastTextClassifier:
    """The model in a Classifier's folder; its files are compared with their hashes first."""
    row = json.loads((classifier.verify().path / _MODEL).read_text(encoding="utf-8"))
    if row["head"] == "words":
        return FastTextClassifier(_fasttext().load_model(str(classifier.path / "model.bin")))
    with np.load(classifier.path / _WEIGHTS, allow_pickle=False) as arrays:
        return EmbeddingClassifier(arrays["weights"], squash=row["squash"])


# ---- accuracy ----


def auroc(scores: ScoreArray, targets: ScoreArray) -> float:
    """The chance that a good one scores above a bad one; ties count half."""
    from scipy.stats import rankdata

    good = targets > 0.5
    if good.all() or not good.any():
        return float("nan")
    ranks = rankdata(scores)
    return float((ranks[good].sum() - good.sum() * (good.sum() + 1) / 2) / (good.sum() * (~good).sum()))


def quality_accuracy(scores: ScoreArray, targets: ScoreArray, *, examples: int = 0) -> QualityAccuracy:
    """AUROC, and calibration: mean score and share of good ones in five groups of like score."""
    groups = np.array_split(np.argsort(scores), 5)
    bins = [QualityBin(float(scores[own].mean()), float(targets[own].mean())) for own in groups if len(own)]
    return QualityAccuracy(examples, auroc(scores, targets), tuple(bins))


def points_accuracy(scores: ScoreArray, points: ScoreArray, *, examples: int = 0) -> PointsAccuracy:
    """Mean error, rank correlation, and F1 of the question whether a document has 3 points or more."""
    from scipy.stats import rankdata

    predicted, actual = np.clip(np.rint(scores), 0, 5) >= 3, points >= 3
    true_positives = int((predicted & actual).sum())
    f1 = 2 * true_positives / max(1, int(predicted.sum() + actual.sum()))
    ranks = np.corrcoef(rankdata(scores), rankdata(points))[0, 1] if len(points) > 2 else float("nan")
    return PointsAccuracy(examples, float(np.abs(scores - points).mean()), float(ranks), f1)


# ---- keeping the best ----


@settings
class KeepBestSettings:
    """Which documents stay: the `share` that scores highest, or all that score at least `at_least` when that is
    given; sources: those that are judged, all when none is named."""

    share: Share = 0.1
    at_least: float | None = None
    sources: tuple[str, ...] = ()


@stage(paper="3.1.1", version=1)
def keep_best(work: Work, corpus: Corpus, classifier: Classifier, *, settings: KeepBestSettings) -> Corpus:
    """The documents that score highest, with their score in their notes; the others are in `rejects`."""
    model = load_quality(classifier)
    judged = (document for document in read_documents(corpus.path) if _is_judged(document, settings))
    scores = np.concatenate([np.empty(0), *_batch_scores(model, judged)])
    threshold = settings.at_least if settings.at_least is not None else _quantile(scores, settings.share)
    num_kept = write_documents(
        work.out, _documents_with_scores(corpus, scores, settings, lambda score: score >= threshold)
    )
    reject_notes = {"step": "quality", "reason": f"scores below {threshold:.4g}"}
    dropped = _documents_with_scores(corpus, scores, settings, lambda score: score < threshold, reject_notes)
    num_rejected = write_documents(work.out, dropped, "rejects")
    work.record(QualityThreshold(float(threshold)))
    work.record(CorpusSize(num_kept, num_kept + num_rejected))
    work.headline = (
        f"{num_kept:,} of {num_kept + num_rejected:,} documents kept, those that score {threshold:.4g} or more"
    )
    return Corpus(work.out)


def _documents_with_scores(
    corpus: Corpus,
    scores: ScoreArray,
    settings: KeepBestSettings,
    accepts: Callable[[float], bool],
    reject_notes: Mapping[str, str] | None = None,
) -> Iterator[Document]:
    """Documents whose score is wanted, with it in their notes; with `reject_notes` only those, else also those not
    judged."""
    remaining_scores = iter(scores.tolist())
    for document in read_documents(corpus.path):
        if not _is_judged(document, settings):
            if reject_notes is None:
                yield document
            continue
        score = next(remaining_scores)
        if accepts(score):
            yield _with_notes(document, {**(reject_notes or {}), "quality": score})


def _is_judged(document: Document, settings: KeepBestSettings) -> bool:
    return not settings.sources or document.source in settings.sources


def _quantile(scores: ScoreArray, share: float) -> float:
    """The score that `share` of them reach."""
    if not len(scores):
        return 0.0
    return float(np.sort(scores)[::-1][min(len(scores) - 1, max(0, round(share * len(scores)) - 1))])


def _batches(documents: Iterator[Document]) -> Iterator[list[Document]]:
    while batch := list(islice(documents, 1000)):
        yield batch


def _batch_scores(
    model: EmbeddingClassifier | FastTextClassifier, documents: Iterator[Document]
) -> Iterator[ScoreArray]:
    for batch in _batches(documents):
        yield model.score([document.text for document in batch])


def _with_notes(document: Document, notes: dict[str, Any]) -> Document:
    return replace(document, notes={**document.notes, **notes})
