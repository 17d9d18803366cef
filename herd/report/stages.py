"""The report of a run."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain

from herd.core.artifacts import Artifact, Report, Scores
from herd.core.lineage import lineage
from herd.core.stage import Work, stage
from herd.evals.results import CurationAudit, EvaluationResult
from herd.pretrain.results import ContextExtension
from herd.report.abilities import ability_scores
from herd.report.pages import render
from herd.report.sections import results_of
from herd.report.verdicts import (
    Criteria,
    ReportResult,
    Verdict,
    audit_verdicts,
    gain_verdict,
    needle_verdicts,
    task_verdict,
)


@stage(paper="-", version=4)
def write_report(
    work: Work,
    scores: tuple[Scores, ...],
    artifacts: tuple[Artifact, ...],
    *,
    title: str,
    criteria: Criteria,
    note: str = "",
) -> Report:
    """One HTML file about `scores`, `artifacts` and all they were made of. A bar that is missed is shown in red. note:
    what its readers have to know first."""
    history = _in_order((*scores, *artifacts))
    verdicts = check_criteria(history, results_of(artifacts, CurationAudit), criteria)
    (work.out / "report.html").write_text(render(title, history, verdicts, note), encoding="utf-8")
    num_holding = sum(verdict.holds for verdict in verdicts)
    work.record(ReportResult(tuple(verdicts)))
    work.headline = f"{num_holding} of {len(verdicts)} bars hold" if verdicts else f"{len(history)} artifacts"
    return Report(work.out)


def check_criteria(artifacts: list[Artifact], audits: Sequence[CurationAudit], criteria: Criteria) -> list[Verdict]:
    """Every bar, held against what was measured. audits: those that the report was given; a study that compares
    curations has others, which no bar is about."""
    verdicts = list(chain.from_iterable(audit_verdicts(audit, criteria) for audit in audits))
    by_label = {result.label: result for result in results_of(artifacts, EvaluationResult)}
    if criteria.needle_model:
        # The target length, whether or not the switch to it was made.
        gates = {
            extension.target: extension.gate.passed and extension.switched
            for extension in results_of(artifacts, ContextExtension)
        }
        result = by_label.get(criteria.needle_model)
        verdicts += needle_verdicts(gates, result.needle if result else (), criteria)
    tasks = {label: result.tasks for label, result in by_label.items()}
    abilities = {label: ability_scores(result) for label, result in by_label.items()}
    verdicts += [gain_verdict(gain, tasks) for gain in criteria.gains]
    return verdicts + [task_verdict(bar, abilities) for bar in criteria.bars]


def _in_order(ends: tuple[Artifact, ...]) -> list[Artifact]:
    """All that `ends` were made of, each once, each after what it was made of."""
    ordered = {artifact.key: artifact for artifact in chain.from_iterable(map(lineage, ends))}
    return list(ordered.values())
