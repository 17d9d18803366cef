"""Mixes of data, and curations, held against each other."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from herd.core.artifacts import Artifact
from herd.evals.intervals import Interval
from herd.mixing.results import (
    CorpusComparison,
    MethodScore,
    MixComparison,
    MixForecast,
    SearchCost,
    UpsamplingCurve,
)
from herd.report import plots
from herd.report.sections import Section, SectionPart, fill_template, render_parts, results_of, sections


@sections.add(MixComparison, MixForecast, UpsamplingCurve, CorpusComparison, order=40)
def mixing_section(artifacts: Sequence[Artifact]) -> Section | None:
    """The table of methods and the pictures of forecasts, upsampling and curations."""
    results = results_of(artifacts, MixComparison)
    table = _table(results[0]) if results else {"rows": []}
    html = fill_template(Path(__file__).with_suffix(".html"), **table, parts=render_parts(list(_parts(artifacts))))
    return Section("mixing", "Data mix", html)


def _table(result: MixComparison) -> dict[str, object]:
    costs = {cost.method: cost for cost in result.searches}
    return {
        "words": _words(result),
        "drawing": plots.svg_markup(plots.shares({row.method: row.shares for row in result.rows})),
        "rows": [_row(row, costs.get(row.method), result.control) for row in result.rows],
    }


def _words(result: MixComparison) -> str:
    better = [row.method for row in result.rows if row.gain.low > 0]
    worse = [row.method for row in result.rows if row.gain.high < 0]
    seeds = max(row.seeds for row in result.rows)
    text = f"Every method beside {result.control} sampling, {seeds} seeds each. "
    text += (
        f"Better outside its interval: {', '.join(better)}. " if better else "Nothing beats it outside its interval. "
    )
    return text + (f"Worse: {', '.join(worse)}." if worse else "")


def _row(row: MethodScore, cost: SearchCost | None, control: str) -> dict[str, str]:
    value, low, high = row.gain
    is_control = row.method == control
    return {
        "method": row.method,
        "mean": f"{row.mean:.3f}",
        "gain": "the control" if is_control else f"{value:+.3f} [{low:+.3f}, {high:+.3f}]",
        "verdict": "" if is_control else "good" if low > 0 else "bad" if high < 0 else "",
        "worst": f"{row.worst:.3f}",
        "tokens": f"{row.got_there} of {row.seeds} seeds" if row.tokens is None else f"{row.tokens:.2f}",
        "flops": f"{cost.flops:.1e}" if cost and cost.flops else "none",
        "over_seeds": _number(cost and cost.over_seeds, ".3f"),
        "over_sizes": _number(cost and cost.over_sizes, ".3f"),
        "times_plain": _number(cost and cost.times_plain, ".2f"),
        "epochs": f"{row.epochs:.1f}",
    }


def _number(value: float | None, spec: str) -> str:
    return "" if value is None else format(value, spec)


def _parts(artifacts: Sequence[Artifact]) -> Iterator[SectionPart]:
    for artifact in artifacts:
        if forecast := artifact.get_result(MixForecast):
            yield _forecast(forecast)
        if upsampling := artifact.get_result(UpsamplingCurve):
            yield _upsampling(upsampling)
        if comparison := artifact.get_result(CorpusComparison):
            yield _corpora(comparison)


def _forecast(result: MixForecast) -> SectionPart:
    size = f"{len(result.rows)} mixes, predicted {result.orders:.1f} orders of magnitude beyond their largest small run"
    measured = [(row, row.measured) for row in result.rows if row.measured is not None]
    if result.rank_correlation is None or not measured:
        return SectionPart(
            title="Mixes predicted from small runs",
            words=f"{size}, where none was run; 95 % intervals over seeds.",
            head=("mix", "predicted loss, nats a token"),
            rows=[
                (row.label, f"{row.loss:.3f} [{row.interval[0]:.3f}, {row.interval[1]:.3f}]")
                for row in sorted(result.rows, key=lambda row: row.loss)
            ],
        )
    error = float(np.mean([abs(row.loss - loss) for row, loss in measured]))
    return SectionPart(
        title="Mixes predicted from small runs",
        words=f"{size}: rank correlation {result.rank_correlation:.2f} with what was measured, losses off by "
        f"{error:.3f} nats.",
        drawing=plots.svg_markup(plots.measured_vs_forecast([row for row, _ in measured])),
    )


def _upsampling(result: UpsamplingCurve) -> SectionPart:
    return SectionPart(
        title="Upsampling at the end",
        words=f"The last part of the run is given to a mix with more of {', '.join(result.domains)}; gains over "
        "the run without it in nats per token, paired by seed, with 95 % intervals.",
        drawing=plots.svg_markup(
            plots.curve_with_band(result.curves, "part of the run, at its end", "gain, nats per token")
        ),
    )


def _corpora(result: CorpusComparison) -> SectionPart:
    best, correlation = result.rows[0], result.rank_correlation
    finding = "no relation that chance would not give" if result.by_chance > 0.05 else "more than chance would give"
    head = ("curation", "answers, nats a character", f"gain over {result.control}", "text, nats a token")
    points = [
        (row.label, row.agreement or 0.0, row.answers.value, row.answers.low, row.answers.high) for row in result.rows
    ]
    return SectionPart(
        title="Curations, by what a model learns from each",
        words=f"The same training on what each keeps of one pool, {best.seeds} seeds each; {best.label} was "
        f"best in {best.best} of them. Agreement is the AUROC of kept against dropped for good pages against junk. "
        f"Rank correlation of what was learnt and agreement: {correlation:+.2f} (as far from zero by chance: "
        f"{result.by_chance:.0%} of all orders), {finding}.",
        drawing=plots.svg_markup(
            plots.scatter(points, "agreement with labels, AUROC", "right answers, nats a character")
        ),
        head=(*head, "gain in text", "agreement", "best of seeds", "tokens kept"),
        rows=[
            (
                row.label,
                _interval(row.answers, ""),
                "the control" if row.label == result.control else _interval(row.gain, "+"),
                _interval(row.losses, ""),
                "" if row.label == result.control else _interval(row.gain_in_text, "+"),
                f"{row.agreement:.3f}",
                f"{row.best} of {row.seeds}",
                f"{row.tokens:,}" + (" (read more often than allowed)" if row.repeated else ""),
            )
            for row in result.rows
        ],
    )


def _interval(interval: Interval, sign: str) -> str:
    value, low, high = (format(number, f"{sign}.3f") for number in interval)
    return f"{value} [{low}, {high}]"
