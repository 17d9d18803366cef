"""The report of a run."""

from __future__ import annotations

from collections.abc import Sequence

from herd.core.artifacts import Artifact, Report, Scores
from herd.core.lineage import lineage
from herd.core.stage import Work, stage
from herd.evals.results import CurationAudit, EvaluationResult
from herd.pretrain.results import ContextExtension
from herd.report.pages import render
from herd.report.sections import recorded_results
from herd.report.verdicts import Bars, ReportResult, Verdict, audit_verdicts, gain_verdict, needle_verdicts


@stage(paper="-", version=3)
def write_report(
    work: Work, scores: tuple[Scores, ...], others: tuple[Artifact, ...], *, title: str, bars: Bars, note: str = ""
) -> Report:
    """One HTML file about `scores`, `others` and all they were made of. A bar that is missed is shown in red. note:
    what its readers have to know first."""
    made = _in_order((*scores, *others))
    verdicts = judge(made, recorded_results(others, CurationAudit), bars)
    (work.out / "report.html").write_text(render(title, made, verdicts, note), encoding="utf-8")
    held = sum(one.holds for one in verdicts)
    work.record(ReportResult(tuple(verdicts)))
    work.headline = f"{held} of {len(verdicts)} bars hold" if verdicts else f"{len(made)} artifacts"
    return Report(work.out)


def judge(made: list[Artifact], audits: Sequence[CurationAudit], bars: Bars) -> list[Verdict]:
    """Every bar, held against what was measured. audits: those that the report was given; a study that compares
    curations has others, which no bar is about."""
    verdicts = [verdict for audit in audits for verdict in audit_verdicts(audit, bars)]
    measured = {result.label: result for result in recorded_results(made, EvaluationResult)}
    if bars.needle_model:
        # The length that was asked for, whether or not the switch to it was made.
        gates = {one.target: one.gate.passed and one.switched for one in recorded_results(made, ContextExtension)}
        asked = measured.get(bars.needle_model)
        verdicts += needle_verdicts(gates, asked.needle if asked else (), bars)
    tasks = {label: result.tasks for label, result in measured.items()}
    return verdicts + [gain_verdict(gain, tasks) for gain in bars.gains]


def _in_order(ends: tuple[Artifact, ...]) -> list[Artifact]:
    """All that `ends` were made of, each once, each after what it was made of."""
    ordered = {one.key: one for end in ends for one in lineage(end)}
    return list(ordered.values())
