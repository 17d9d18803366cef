"""Held-out examples in the course of fine-tuning."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from herd.core.artifacts import Artifact
from herd.core.titles import artifact_titles
from herd.evals.intervals import Interval
from herd.evals.results import ValidationCurve
from herd.report import plots
from herd.report.sections import Section, SectionPart, artifacts_with, is_result, render_parts, sections

_TITLES = {
    "loss": "Loss on held-out examples",
    "accuracy": "Held-out pairs ranked right",
    "margin": "Margin of held-out pairs",
}
_SHOWN = tuple(_TITLES)


@sections.add(ValidationCurve, order=45)
def validation_section(artifacts: Sequence[Artifact]) -> Section | None:
    """For each kind of stage the runs laid over each other, by epoch, with the epoch that was kept; then the figures
    before and after."""
    by_stage: dict[str, dict[str, ValidationCurve]] = {}
    titles = artifact_titles(artifacts)
    for artifact, curve in artifacts_with(artifacts, ValidationCurve):
        by_stage.setdefault(artifact.metadata["stage"], {})[titles[artifact.key]] = curve
    shown_parts: list[SectionPart] = []
    for stage, curves in by_stage.items():
        figures = [name for name in _SHOWN if any(name in curve.changes for curve in curves.values())]
        for figure in figures:
            title = f"{_TITLES[figure]}: {stage}"
            shown_parts.append(SectionPart(title, _words(curves), plots.svg_markup(drawing_of(curves, figure))))
        shown_parts.append(_table(stage, curves))
        shown_parts += _source_tables(stage, curves)
    if not shown_parts:
        return None
    return Section("validation", "Held-out examples", render_parts(shown_parts), top=is_result(artifacts))


def drawing_of(curves: Mapping[str, ValidationCurve], figure: str) -> str:
    """A line with its band for every run, over epochs; a star where the weights were kept."""
    with plots.drawing(height=3.0) as (_, (axis,), svg):
        for (name, curve), colour in zip(curves.items(), plots.PALETTE * len(curves), strict=False):
            points = [point for point in curve.points if figure in point.figures]
            if not points:
                continue
            epochs = np.array([point.epoch for point in points])
            values, low, high = (np.array(column) for column in zip(*(p.figures[figure] for p in points), strict=True))
            if np.isfinite(low).all() and np.isfinite(high).all():
                axis.fill_between(epochs, low, high, color=colour, alpha=0.12, linewidth=0)
            axis.plot(epochs, values, marker="o", markersize=3, color=colour, label=plots.escape_label(name))
            kept = curve.point(curve.kept)
            axis.plot(kept.epoch, kept.figures[figure].value, "*", color=colour, markersize=12)
        axis.set_xlabel("epochs")
        axis.set_ylabel(figure)
        axis.legend(frameon=False, fontsize=8)
    return plots.with_alt_text(svg[0], f"{_TITLES[figure]}, by epoch: {'; '.join(map(_in_words, curves.values()))}")


def _in_words(curve: ValidationCurve) -> str:
    return ", ".join(f"{point.epoch:.3g}: {point.figures[curve.metric].value:.3f}" for point in curve.points)


def _words(curves: Mapping[str, ValidationCurve]) -> str:
    examples = sorted({curve.examples for curve in curves.values()})
    count = " to ".join(f"{number:,}" for number in dict.fromkeys((examples[0], examples[-1])))
    band = "of which there is no interval" if examples == [1] else "the band is the 95 % interval over them"
    return (
        f"{count} {'example that was' if examples == [1] else 'examples that were'} never learnt; {band}. Epoch 0 is "
        "the model before training. A star marks the weights that were kept."
    )


def _table(stage: str, curves: Mapping[str, ValidationCurve]) -> SectionPart:
    rows: list[tuple[object, ...]] = []
    for name, curve in curves.items():
        first, kept, best = curve.points[0], curve.point(curve.kept), curve.point(curve.best)
        for figure, change in curve.changes.items():
            before, after = first.figures[figure], kept.figures[figure]
            rows.append(
                (name, figure, _value(before), _value(after), _change(change), f"{kept.epoch:.3g}", f"{best.epoch:.3g}")
            )
    return SectionPart(
        title=f"Before and after: {stage}",
        words="The change is that of the same examples, with its 95 % interval over them. Best epoch: of the lowest "
        "held-out loss; where it is not the one that was kept, `early_stop` would have kept it.",
        head=("model", "figure", "before", "after", "change", "epoch kept", "best epoch"),
        rows=rows,
    )


def _source_tables(stage: str, curves: Mapping[str, ValidationCurve]) -> Iterator[SectionPart]:
    """By the sources of the held-out examples, where they are of several; those that got worse are marked."""
    rows: list[tuple[object, ...]] = []
    for model, curve in curves.items():
        for source, own in curve.sources.items():
            for figure in (name for name in _SHOWN if name in own.changes):
                change = own.changes[figure]
                worse = change.low > 0 if figure == curve.metric else change.high < 0
                rows.append(
                    (
                        model, source or "no source named", own.examples, figure, _value(own.before[figure]),
                        _value(own.kept[figure]), _change(change), "worse" if worse else "",
                    )
                )  # fmt: skip
    if rows:
        yield SectionPart(
            title=f"Before and after by source: {stage}",
            words="Held-out examples by what their files were called, or their rows say. Worse: by more than the 95 % "
            "interval of the change.",
            head=("model", "source", "examples", "figure", "before", "after", "change", ""),
            rows=rows,
        )


def _value(interval: Interval) -> str:
    return f"{interval.value:.3f}"


def _change(change: Interval) -> str:
    return change.words("+.3f")
