"""How much of a task's items stands in a corpus, and what its score is worth without them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from herd.core.errors import DataError
from herd.core.manifests import atomic_write
from herd.core.terminal import count_of
from herd.evals.answers import AnswerRecord
from herd.evals.contamination import ContaminationGain, contamination_gains, largest_significant_gain
from herd.evals.coverage import NGRAM, Coverage, ItemNgrams, RecoveryCheck, check_recovery, measure_coverage

OVERLAP_FILE = "contamination.json"
_HOSTS, _HOST_CHARACTERS = 50, 20_000  # documents that items are planted in, for the check


@dataclass(frozen=True)
class TaskOverlap:
    """What a corpus holds of a task. shares: of every item, by its id; None for one that is too short, or has nothing
    of its own. runs: the most covered tokens in a row. gains: at every threshold that parts the items. check: of items
    that were planted in documents of the corpus."""

    task: str
    ngram: int
    documents: int
    words: int
    shares: Mapping[str, float | None]
    runs: Mapping[str, int]
    gains: tuple[ContaminationGain, ...]
    check: RecoveryCheck
    threshold: float

    def to_row(self) -> dict[str, Any]:
        """As plain data."""
        best = largest_significant_gain(self.gains)
        check = asdict(self.check) | {"precision": self.check.precision, "recall": self.check.recall}
        return asdict(self) | {"largest_significant_gain": asdict(best) if best else None, "check": check}


def measure_overlap(
    tasks: Mapping[str, Sequence[AnswerRecord]], texts: Iterable[str], *, ngram: int = NGRAM, threshold: float = 0.8
) -> list[TaskOverlap]:
    """What a corpus, which is read once, holds of every task's items. threshold: of the check. Raises DataError for a
    corpus without words."""
    items = {name: items_of(records) for name, records in tasks.items()}
    sets = [ItemNgrams(list(own.values()), ngram=ngram) for own in items.values()]
    hosts: list[str] = []
    coverages = measure_coverage(sets, _keep_first(texts, hosts))
    if not any(coverage.words for coverage in coverages):
        raise DataError("the corpus holds no word, so that nothing can be told by it; name another with --corpus")
    overlaps = []
    for (name, own), coverage in zip(items.items(), coverages, strict=True):
        check = check_recovery(list(own.values()), hosts, threshold=threshold, ngram=ngram)
        overlaps.append(_overlap(name, tasks[name], own, coverage, check, ngram, threshold))
    return overlaps


def _keep_first(texts: Iterable[str], hosts: list[str]) -> Iterator[str]:
    """The texts; the first of them are put into `hosts`, too."""
    for text in texts:
        if len(hosts) < _HOSTS:
            hosts.append(text[:_HOST_CHARACTERS])
        yield text


def items_of(records: Sequence[AnswerRecord]) -> dict[str, str]:
    """The text of every item: what was asked last, and its right answer."""
    return {record.id: f"{record.asked}\n{record.target}" for record in records if record.sample == 0}


def _overlap(
    name: str, records: Sequence[AnswerRecord], items: Mapping[str, str], coverage: Coverage, check: RecoveryCheck,
    ngram: int, threshold: float,
) -> TaskOverlap:  # fmt: skip
    shares = dict(zip(items, coverage.shares, strict=True))
    runs = dict(zip(items, coverage.runs, strict=True))
    scores: dict[str, list[float]] = {}
    for record in records:
        if record.score is not None and shares.get(record.id) is not None:
            scores.setdefault(record.id, []).append(record.score)
    right = [sum(own) / len(own) for own in scores.values()]
    gains = contamination_gains(right, [shares[item] or 0.0 for item in scores]) if scores else []
    return TaskOverlap(name, ngram, coverage.documents, coverage.words, shares, runs, tuple(gains), check, threshold)


def write_overlap(folder: Path, overlap: TaskOverlap) -> None:
    """Puts what was found beside the answers of the task."""
    atomic_write(folder / OVERLAP_FILE, json.dumps(overlap.to_row(), indent=1))


def overlap_lines(overlap: TaskOverlap) -> Iterator[str]:
    """What was found, for a terminal."""
    measured = [share for share in overlap.shares.values() if share is not None]
    short = len(overlap.shares) - len(measured)
    yield (
        f"{overlap.task}: {count_of(len(measured), 'item')} looked for in {count_of(overlap.documents, 'document')} "
        f"({overlap.words:,} words) by {overlap.ngram} words in a row, {short:,} too short to tell"
    )
    for gain in overlap.gains:
        scores = f"{gain.score:.3f} of all, {gain.clean_score:.3f} of the others"
        yield (
            f"  {gain.contaminated_share:6.1%} of items covered to {gain.threshold:.0%} or more: {scores}, gain "
            f"{gain.gain:+.3f} [{gain.low:+.3f}, {gain.high:+.3f}]"
        )
    best = largest_significant_gain(overlap.gains)
    covered = sum(share > 0 for share in measured)
    if best is not None:
        yield f"  the largest gain that is no chance: {best.gain:+.3f} at {best.threshold:.0%}"
    elif not overlap.gains:
        yield f"  no threshold parts the items: {covered:,} of them are covered at all"
    else:
        yield "  no gain is more than chance"
    check = overlap.check
    precision, recall = (
        "none to tell by" if value is None else f"{value:.3f}" for value in (check.precision, check.recall)
    )
    yield (
        f"  check: {check.found} of {count_of(check.planted, 'planted item')} found at {overlap.threshold:.0%}, "
        f"{check.others} others; precision {precision}, recall {recall}"
    )
