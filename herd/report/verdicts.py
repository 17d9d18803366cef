"""What a run set out to show, and whether it did: every bar with the figure measured against it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from herd.core.errors import SettingsError
from herd.core.results import results
from herd.core.settings import PositiveInt, Share, settings
from herd.evals.intervals import Interval, paired_gain, wilson
from herd.evals.results import CurationAudit, NeedleCell, TaskResult, TextResult
from herd.report.abilities import AbilityScore

FEWEST_QUESTIONS = 200


@settings
class GainClaim:
    """A claim: on `task` the model labelled `after` is better than the one labelled `before`."""

    task: str
    before: str
    after: str
    questions: PositiveInt = FEWEST_QUESTIONS


@settings
class TaskBar:
    """A claim: the model labelled `model` has at least, or at most, this share of `task` right. task: its name, or
    `needle_1024` for needles among 1,024 tokens. questions: fewer show nothing."""

    task: str
    model: str
    at_least: Share | None = None
    at_most: Share | None = None
    questions: PositiveInt = FEWEST_QUESTIONS

    def __post_init__(self) -> None:
        if (self.at_least is None) == (self.at_most is None):
            raise SettingsError(f"the bar of {self.task} for {self.model} needs one of at_least and at_most")


@settings
class Criteria:
    """What a report holds a run to. clean_lost: at most this share of clean pages. needle: at least this
    share found at each length that passed its gate, by the model labelled `needle_model`. bars: of what models can do.
    A study has neither model, gains nor bars to show."""

    clean_lost: Share = 0.01
    needle: Share = 0.95
    needle_model: str = ""
    gains: tuple[GainClaim, ...] = ()
    bars: tuple[TaskBar, ...] = ()


@dataclass(frozen=True)
class Verdict:
    """One bar. figure: what was measured, in words. share: the same as a number, where the bar is about a share of
    `questions` questions."""

    claim: str
    figure: str
    criterion: str
    holds: bool
    share: Interval | None = None
    questions: int = 0


@results.add(version=2)
@dataclass(frozen=True)
class ReportResult:
    """Every bar that a report held its run to."""

    verdicts: tuple[Verdict, ...]


def audit_verdicts(audit: CurationAudit, criteria: Criteria) -> Iterator[Verdict]:
    """About what was planted in the raw pages: copies left and clean pages lost."""
    copies = [audit.planted[kind] for kind in ("near-duplicate", "older capture")]
    remaining, planted = sum(count.left for count in copies), sum(count.planted for count in copies)
    yield Verdict("No planted copy is left in the corpus", f"{remaining} of {planted} left", "0 left", remaining == 0)
    framed, pages = audit.boilerplate.left, audit.boilerplate.pages
    yield Verdict("No site's footer is left in a page", f"{framed} of {pages:,} pages", "0 left", framed == 0)
    lost, clean = audit.clean.lost, audit.clean.planted
    share = lost / max(1, clean)
    criterion = f"at most {criteria.clean_lost:.0%} lost"
    yield Verdict(
        "Clean pages are kept", f"{lost} of {clean:,} lost ({share:.2%})", criterion, share <= criteria.clean_lost
    )


def needle_verdicts(gates: Mapping[int, bool], needle: Sequence[NeedleCell], criteria: Criteria) -> Iterator[Verdict]:
    """About every length at which training was gated. gates: whether each was passed, by length."""
    for length, passed in sorted(gates.items()):
        cells = [cell for cell in needle if cell.length == length]
        hits, total = sum(cell.hits for cell in cells), sum(cell.total for cell in cells)
        claim = f"Needles are found at {length:,} tokens"
        criterion = f"at least {criteria.needle:.0%}"
        if not total:
            yield Verdict(claim, "never measured", criterion, False)
            continue
        interval = wilson(hits, total)
        figure = f"{hits} of {total} ({interval.value:.1%})" + ("" if passed else "; the gate was not passed")
        holds = passed and interval.value >= criteria.needle
        yield Verdict(claim, figure, criterion, holds, interval, total)


def task_verdict(bar: TaskBar, scores: Mapping[str, Mapping[str, AbilityScore]]) -> Verdict:
    """About one task and one model: the share that was measured decides, and its interval is told. scores: by label,
    then by task."""
    threshold = f"at least {bar.at_least:.0%}" if bar.at_least is not None else f"at most {bar.at_most:.0%}"
    claim, criterion = f"{bar.task} by {bar.model}", f"{threshold}, over {bar.questions} questions or more"
    score = scores.get(bar.model, {}).get(bar.task)
    if score is None:
        return Verdict(claim, "never measured", criterion, False)
    share = score.interval
    figure = f"{share.value:.1%} [{share.low:.1%}, {share.high:.1%}] of {score.questions} questions"
    meets = share.value >= bar.at_least if bar.at_least is not None else share.value <= (bar.at_most or 0.0)
    return Verdict(claim, figure, criterion, meets and score.questions >= bar.questions, share, score.questions)


def gain_verdict(gain: GainClaim, scores: Mapping[str, Mapping[str, TaskResult | TextResult]]) -> Verdict:
    """About one task before and after. scores: by label, then by task."""
    claim = f"{gain.after} beats {gain.before} on {gain.task}"
    criterion = f"the 95 % interval of the gain lies above 0, over {gain.questions} questions or more"
    try:
        before, after = scores[gain.before][gain.task], scores[gain.after][gain.task]
    except KeyError as missing:
        return Verdict(claim, f"{missing} was not measured", criterion, False)
    if not isinstance(before, TaskResult) or not isinstance(after, TaskResult):
        return Verdict(claim, f"{gain.task} has no right answers", criterion, False)
    # What was void in either says nothing of the gain.
    pairs = [pair for pair in zip(before.right, after.right, strict=True) if None not in pair]
    interval = paired_gain(*zip(*pairs, strict=True)) if pairs else Interval(math.nan, -math.inf, math.inf)
    questions = len(pairs)
    figure = (
        f"{before.share:.1%} to {after.share:.1%}: gain {interval.value:+.3f} "
        f"[{interval.low:+.3f}, {interval.high:+.3f}] over {questions} questions"
    )
    return Verdict(claim, figure, criterion, interval.low > 0 and questions >= gain.questions)
