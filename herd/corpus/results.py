"""What crawls, corpora and their classifiers record."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from herd.core.results import results

# ---- crawls ----


@results.add(version=1)
@dataclass(frozen=True)
class CrawlPages:
    """A source of pages that was made or fetched as a whole."""

    pages: int
    licence: str = ""


@results.add(version=1)
@dataclass(frozen=True)
class CrawlFiles:
    """Files of a user's own. passed_over: those beside them that nobody reads, by ending. fingerprints: of the contents
    of each."""

    files: int
    passed_over: Mapping[str, int]
    fingerprints: tuple[str, ...]


# ---- corpora ----


@results.add(version=1)
@dataclass(frozen=True)
class CorpusSize:
    """How many documents a corpus holds, of how many that came in."""

    documents: int
    pages: int


@dataclass(frozen=True)
class DropExample:
    """A document that a step dropped. text: its beginning."""

    id: str
    reason: str
    text: str


@dataclass(frozen=True)
class FilterCount:
    """One step of a funnel: how many documents came in, and how many of these it dropped. alone: how many a rule would
    drop as the only one; None for a step that is no rule."""

    step: str
    total: int
    dropped: int
    alone: int | None = None
    examples: tuple[DropExample, ...] = ()


@dataclass(frozen=True)
class SourceSize:
    """What a corpus holds of one source."""

    documents: int
    characters: int


Count = int | float | Mapping[str, int]
DedupSample = Mapping[str, str | int | float | tuple[str, ...]]


@dataclass(frozen=True)
class DedupStats:
    """What a step over all documents counted: numbers and histograms by name, and samples to look at."""

    counts: Mapping[str, Count] = field(default_factory=dict)
    samples: tuple[DedupSample, ...] = ()


@results.add(version=1)
@dataclass(frozen=True)
class CurationResult:
    """Where every page went. funnel: step by step. sources: what is kept of each; languages: documents of each.
    broken_files: a sentence about each that broke off. rewritten: what rewriting counted. dedup: by step over all
    documents."""

    characters: int
    funnel: tuple[FilterCount, ...]
    sources: Mapping[str, SourceSize]
    languages: Mapping[str, int]
    broken_files: tuple[str, ...] = ()
    rewritten: Mapping[str, int] = field(default_factory=dict)
    dedup: Mapping[str, DedupStats] = field(default_factory=dict)


@dataclass(frozen=True)
class TopicSize:
    """Documents of a topic; of these `kept` with so many characters stay."""

    documents: int
    kept: int
    characters: int


@results.add(version=1)
@dataclass(frozen=True)
class TopicCounts:
    """What documents are about, the largest topic first."""

    topics: Mapping[str, TopicSize]


@results.add(version=1)
@dataclass(frozen=True)
class QualityThreshold:
    """The score that documents had to reach to stay."""

    threshold: float


@results.add(version=1)
@dataclass(frozen=True)
class LabelCounts:
    """`documents` that a model was asked about. unreadable: the share of answers that said nothing. agreement: of two
    samples, where there were two. labels: how often each was given."""

    documents: int
    unreadable: float
    agreement: float | None
    labels: Mapping[str, int]


# ---- classifiers ----


@dataclass(frozen=True)
class QualityBin:
    """Documents of like score: their mean score, and the share of good ones among them."""

    score: float
    good: float


@results.add(version=1)
@dataclass(frozen=True)
class QualityAccuracy:
    """A model of good against bad documents, on held-out ones. examples: it learnt from."""

    examples: int
    auroc: float
    calibration: tuple[QualityBin, ...]


@results.add(version=1)
@dataclass(frozen=True)
class PointsAccuracy:
    """A model of points from 0 to 5, on held-out documents. f1_at_3: of the question whether a document has 3 points or
    more. examples: it learnt from."""

    examples: int
    mean_error: float
    rank_correlation: float
    f1_at_3: float


@dataclass(frozen=True)
class TopicRecall:
    """Of `held_out` documents with one label, how many were labelled so."""

    held_out: int
    right: int


@results.add(version=1)
@dataclass(frozen=True)
class TopicAccuracy:
    """A model of topics, on held-out documents; recall: by topic. examples: it learnt from."""

    examples: int
    accuracy: float
    recall: Mapping[str, TopicRecall]
