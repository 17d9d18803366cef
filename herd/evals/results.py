"""What evaluations record."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from herd.core.results import fields_added, results
from herd.evals.intervals import Interval
from herd.train.results import HeldOutLoss


@dataclass(frozen=True)
class Sample:
    """One answer to look at. score: from 0 to 1; None where it is void."""

    prompt: str
    answer: str
    right: bool
    score: float | None
    extracted: str
    reason: str


@dataclass(frozen=True)
class GroupShare:
    """What a model scores on one group of a task's examples that are not void."""

    share: float
    questions: int


@dataclass(frozen=True)
class TaskResult:
    """What a model scores on a task, with its 95 % interval. right: of every example, in order, 0 to 1; None where it
    is void. truncated_share: the share of answers that did not come to an end. tokens: of an answer, the mean.
    gold_nll: nats of the right answer a character after the plain prompt, the mean over examples that have one; None
    where nobody asked for it. chance: the share right of who picks choices blindly; None where answers are written.
    unparsed: answers that nothing could be read out of. left_truncated: prompts that lost their first tokens. macro:
    the mean over groups; None without groups. metrics: other figures of the task by name. notes: what somebody who
    reads the score has to know."""

    share: float
    low: float
    high: float
    questions: int
    void: int
    right: tuple[int | float | None, ...]
    truncated_share: float
    tokens: float
    samples: tuple[Sample, ...] = ()
    gold_nll: float | None = None
    chance: float | None = None
    unparsed: int = 0
    left_truncated: int = 0
    macro: Interval | None = None
    groups: Mapping[str, GroupShare] = field(default_factory=dict)
    metrics: Mapping[str, Interval] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class TextResult:
    """How well a model predicts the texts of a task, in bits a byte with a 95 % interval over texts. text_nats,
    text_bytes: of every text, by which two models are compared."""

    bits_per_byte: float
    low: float
    high: float
    questions: int
    nats_per_token: float
    token_perplexity: float
    text_nats: tuple[float, ...] = ()
    text_bytes: tuple[int, ...] = ()


@dataclass(frozen=True)
class NeedleCell:
    """Of a needle test, how often the needle was asked for (total) and found (hits) at one length in tokens and one
    depth; of several needles of one prompt, each that is found is a part of a hit."""

    length: int
    depth: float
    hits: float
    total: int


@results.add(version=3, upgrades={1: fields_added, 2: fields_added})
@dataclass(frozen=True)
class EvaluationResult:
    """What a model can do. label: what reports call it. chat: whether it was asked in its chat format. tasks: by name.
    held_out: by source."""

    label: str
    chat: bool
    tasks: Mapping[str, TaskResult | TextResult]
    needle: tuple[NeedleCell, ...] = ()
    held_out: Mapping[str, HeldOutLoss] = field(default_factory=dict)


@dataclass(frozen=True)
class ValidationPoint:
    """Held-out figures by name after so many steps, each with its 95 % interval over examples. epoch: how often all
    examples of training had been read."""

    step: int
    epoch: float
    figures: Mapping[str, Interval]


@dataclass(frozen=True)
class SourceFigures:
    """Held-out examples of one source: figures by name before training and of the kept model, and their changes, paired
    over examples."""

    examples: int
    before: Mapping[str, Interval]
    kept: Mapping[str, Interval]
    changes: Mapping[str, Interval]


@results.add(version=2, upgrades={1: fields_added})
@dataclass(frozen=True)
class ValidationCurve:
    """Held-out examples, measured before and in the course of fine-tuning. metric: the figure by which the best model
    is told, the lower the better. best: the step after which it was lowest; kept: after which the model is as it was
    written. stopped_early: whether training ended before its time. changes: of each figure, from before training to the
    kept model, paired over examples. sources: by the source of the examples; nothing where all are of one."""

    points: tuple[ValidationPoint, ...]
    metric: str
    examples: int
    best: int
    kept: int
    stopped_early: bool
    changes: Mapping[str, Interval]
    sources: Mapping[str, SourceFigures] = field(default_factory=dict)

    def point(self, step: int) -> ValidationPoint:
        """What was measured last by then."""
        return max((point for point in self.points if point.step <= step), key=_step, default=self.points[0])


def _step(point: ValidationPoint) -> int:
    return point.step


@dataclass(frozen=True)
class PlantedCount:
    """Of pages of one kind that were planted in a crawl, how many a corpus still holds."""

    planted: int
    left: int


@dataclass(frozen=True)
class CleanCount:
    """Of pages worth keeping, how many were lost."""

    planted: int
    lost: int


@dataclass(frozen=True)
class BoilerplateCount:
    """Of pages kept, on how many the frame of their site is left."""

    pages: int
    left: int


@results.add(version=1)
@dataclass(frozen=True)
class CurationAudit:
    """How far curation found what was planted. planted: by kind of page. lost_by: clean pages by the step that dropped
    them. agreement: the AUROC of kept against dropped for clean pages against junk."""

    clean: CleanCount
    boilerplate: BoilerplateCount
    lost_by: Mapping[str, int]
    planted: Mapping[str, PlantedCount]
    agreement: float
