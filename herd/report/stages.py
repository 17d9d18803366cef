"""The report of a run."""

from __future__ import annotations

from herd.core.artifacts import Artifact, Report, Scores
from herd.core.lineage import lineage
from herd.core.stage import Work, stage
from herd.report.pages import measured, render
from herd.report.verdicts import Bars, Verdict, audit_verdicts, gain_verdict, needle_verdicts


@stage(paper="-", version=3)
def write_report(
    work: Work, scores: tuple[Scores, ...], others: tuple[Artifact, ...], *, title: str, bars: Bars, note: str = ""
) -> Report:
    """One HTML file about `scores`, `others` and all they were made of. A bar that is missed is shown in red. note:
    what its readers have to know first."""
    made = _in_order((*scores, *others))
    verdicts = judge(made, [one for one in others if one.card["stage"] == "audit"], bars)
    (work.out / "report.html").write_text(render(title, made, verdicts, note), encoding="utf-8")
    held = sum(one.holds for one in verdicts)
    work.figure("verdicts", [one.__dict__ for one in verdicts])
    work.figure("headline", f"{held} of {len(verdicts)} bars hold" if verdicts else f"{len(made)} artifacts")
    return Report(work.out)


def judge(made: list[Artifact], audits: list[Artifact], bars: Bars) -> list[Verdict]:
    """Every bar, held against what was measured. audits: those that the report was given; a study that compares
    curations has others, which no bar is about."""
    verdicts = [verdict for one in audits for verdict in audit_verdicts(one.figures["scores"], bars)]
    found = {one["label"]: one for one in measured(made)}
    gates = {
        # The length that was asked for, whether or not the switch to it was made.
        one.figures.get("target", one.figures["length"]): one.figures["gate"]["passed"]
        and one.figures.get("switched", True)
        for one in made
        if "gate" in one.figures
    }
    if bars.needle_model:
        verdicts += needle_verdicts(gates, found.get(bars.needle_model, {}).get("needle", []), bars)
    tasks = {label: one["tasks"] for label, one in found.items()}
    return verdicts + [gain_verdict(gain, tasks) for gain in bars.gains]


def _in_order(ends: tuple[Artifact, ...]) -> list[Artifact]:
    """All that `ends` were made of, each once, each after what it was made of."""
    ordered = {one.key: one for end in ends for one in lineage(end)}
    return list(ordered.values())
