"""What a run set out to show, and whether it did: every bar with the figure measured against it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from herd.core.results import results
from herd.core.settings import Positive, Share, settings
from herd.evals.results import CurationAudit, NeedleCell, TaskResult, TextResult
from herd.evals.spread import Interval, paired_gain, wilson

FEWEST_QUESTIONS = 200


@settings
class Gain:
    """A claim: on `task` the model labelled `after` is better than the one labelled `before`."""

    task: str
    before: str
    after: str
    questions: Positive = FEWEST_QUESTIONS


@settings
class Bars:
    """What a report holds a run to. clean_lost: at most this share of clean pages. needle: at least this
    share found at each length that passed its gate, by the model labelled `needle_model`. A study has neither model nor
    gains to show."""

    clean_lost: Share = 0.01
    needle: Share = 0.95
    needle_model: str = ""
    gains: tuple[Gain, ...] = ()


@dataclass(frozen=True)
class Verdict:
    """One bar. figure: what was measured, in words."""

    claim: str
    figure: str
    bar: str
    holds: bool


@results.add(version=1)
@dataclass(frozen=True)
class ReportResult:
    """Every bar that a report held its run to."""

    verdicts: tuple[Verdict, ...]


def audit_verdicts(audit: CurationAudit, bars: Bars) -> Iterator[Verdict]:
    """About what was planted in the raw pages: copies left and clean pages lost."""
    copies = [audit.planted[kind] for kind in ("near-duplicate", "older capture")]
    left, planted = sum(count.left for count in copies), sum(count.planted for count in copies)
    yield Verdict("No planted copy is left in the corpus", f"{left} of {planted} left", "0 left", left == 0)
    framed, pages = audit.boilerplate.left, audit.boilerplate.pages
    yield Verdict("No site's footer is left in a page", f"{framed} of {pages:,} pages", "0 left", framed == 0)
    lost, clean = audit.clean.lost, audit.clean.planted
    share = lost / max(1, clean)
    bar = f"at most {bars.clean_lost:.0%} lost"
    yield Verdict("Clean pages are kept", f"{lost} of {clean:,} lost ({share:.2%})", bar, share <= bars.clean_lost)


def needle_verdicts(passed: Mapping[int, bool], measured: Sequence[NeedleCell], bars: Bars) -> Iterator[Verdict]:
    """About every length at which training was gated. passed: whether the gate was, by length."""
    for length, gate in sorted(passed.items()):
        cells = [cell for cell in measured if cell.length == length]
        found, asked = sum(cell.found for cell in cells), sum(cell.asked for cell in cells)
        claim = f"Needles are found at {length:,} tokens"
        bar = f"at least {bars.needle:.0%}"
        if not asked:
            yield Verdict(claim, "never measured", bar, False)
            continue
        interval = wilson(found, asked)
        figure = f"{found} of {asked} ({interval.value:.1%})" + ("" if gate else "; the gate was not passed")
        yield Verdict(claim, figure, bar, gate and interval.value >= bars.needle)


def gain_verdict(gain: Gain, scores: Mapping[str, Mapping[str, TaskResult | TextResult]]) -> Verdict:
    """About one task before and after. scores: by label, then by task."""
    claim = f"{gain.after} beats {gain.before} on {gain.task}"
    bar = f"the 95 % interval of the gain lies above 0, over {gain.questions} questions or more"
    try:
        before, after = scores[gain.before][gain.task], scores[gain.after][gain.task]
    except KeyError as missing:
        return Verdict(claim, f"{missing} was not measured", bar, False)
    if not isinstance(before, TaskResult) or not isinstance(after, TaskResult):
        return Verdict(claim, f"{gain.task} has no right answers", bar, False)
    # What was void in either says nothing of the gain.
    pairs = [pair for pair in zip(before.right, after.right, strict=True) if None not in pair]
    found = paired_gain(*zip(*pairs, strict=True)) if pairs else Interval(math.nan, -math.inf, math.inf)
    questions = len(pairs)
    figure = (
        f"{before.share:.1%} to {after.share:.1%}: gain {found.value:+.3f} "
        f"[{found.low:+.3f}, {found.high:+.3f}] over {questions} questions"
    )
    return Verdict(claim, figure, bar, found.low > 0 and questions >= gain.questions)
