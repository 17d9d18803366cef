"""Drawings as SVG text, to be put into a page."""

from __future__ import annotations

import html
import io
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from herd.evals.intervals import Interval
from herd.mixing.results import MixPrediction
from herd.scaling.results import ScalingLaw

INK, GRID = "#30343b", "#dfe3e8"
PALETTE = ("#2f6db5", "#c8553d", "#3c8d5a", "#8a5fb0", "#b8860b", "#4a9aa5", "#7a7f87", "#d17fa8")


@contextmanager
def drawing(columns: int = 1, *, height: float = 3.2, width: float = 9.2) -> Iterator[tuple[Any, list[Any], list[str]]]:
    """Axes side by side; when the block ends, the list at the end holds the SVG."""
    import matplotlib

    matplotlib.use("svg")
    from matplotlib import pyplot

    # Text stays text, and equal drawings are equal files.
    style: Any = {"svg.fonttype": "none", "svg.hashsalt": "herd", "font.family": "sans-serif", "font.size": 9}
    style |= {"axes.edgecolor": GRID, "axes.labelcolor": INK, "text.color": INK, "xtick.color": INK, "ytick.color": INK}
    style |= {"axes.spines.top": False, "axes.spines.right": False, "axes.grid": True, "grid.color": GRID}
    with matplotlib.rc_context(style):
        figure, axes = pyplot.subplots(1, columns, figsize=(width, height), squeeze=False, layout="constrained")
        svg: list[str] = []
        try:
            yield figure, list(axes[0]), svg
            stream = io.StringIO()
            figure.savefig(stream, format="svg", metadata={"Date": None}, transparent=True)
            svg.append(_embeddable(stream.getvalue()))
        finally:
            pyplot.close(figure)


def svg_markup(svg: str) -> Any:
    """SVG that the template puts in as it is."""
    from markupsafe import Markup

    return Markup(svg)  # noqa: S704 - made by ourselves from numbers and our own names


def escape_label(text: str) -> str:
    """`text` as matplotlib shows it in a legend: a name with two dollars is no formula there."""
    return text.replace("$", r"\$")


def with_alt_text(svg: str, text: str) -> str:
    """The drawing with words for whoever does not see it."""
    return svg.replace("<svg", f'<svg aria-label="{html.escape(text)}"', 1)


def _embeddable(text: str) -> str:
    """The <svg> element alone, as wide as its place allows."""
    text = text[text.index("<svg") :]
    return re.sub(r'width="[\d.]+pt" height="[\d.]+pt"', 'role="img"', text, count=1)


def loss_curves(runs: Sequence[tuple[str, Sequence[float], Sequence[float]]], unit: str) -> str:
    """One line for each (name, tokens seen, loss), end to end."""
    with drawing(height=3.0) as (_, (axis,), svg):
        start = 0.0
        for (name, tokens, losses), colour in zip(runs, PALETTE * len(runs), strict=False):
            x = start + np.cumsum(tokens)
            axis.plot(x, losses, color=colour, alpha=0.25, linewidth=0.7)
            axis.plot(x, smooth(losses), color=colour, linewidth=1.6, label=escape_label(name))
            start = float(x[-1]) if len(x) else start
        axis.set_xlabel(unit)
        axis.set_ylabel("training loss")
        axis.legend(frameon=False, fontsize=8)
    return svg[0]


def smooth(values: Sequence[float], share: float = 0.03) -> list[float]:
    """A running mean whose window is a share of all values, corrected for its start."""
    weight = 1 / max(1.0, share * len(values))
    mean = total = 0.0
    smoothed = []
    for value in values:
        mean = (1 - weight) * mean + weight * value
        total = (1 - weight) * total + weight
        smoothed.append(mean / total)
    return smoothed


def scaling(result: ScalingLaw) -> str:
    """The IsoFLOP curves, and the law through their minima with what it says for the target."""
    with drawing(2) as (_, (left_axis, right_axis), svg):
        for curve, colour in zip(result.curves, PALETTE * len(result.curves), strict=False):
            left_axis.plot(curve.tokens, curve.losses, "o", color=colour, markersize=4)
            x = np.geomspace(min(curve.tokens), max(curve.tokens), 50)
            left_axis.plot(x, np.polyval(curve.parabola, np.log(x)), color=colour, label=f"{curve.flops:.1e} FLOPs")
            if curve.inside:
                left_axis.plot(curve.best_tokens, curve.best_loss, "*", color=colour, markersize=11)
        left_axis.set_xscale("log")
        left_axis.set_xlabel("training tokens")
        left_axis.set_ylabel("held-out loss, nats per token")
        left_axis.legend(frameon=False, fontsize=8)
        _law(right_axis, result)
    return svg[0]


def _law(axis: Any, result: ScalingLaw) -> None:
    inside = [curve for curve in result.curves if curve.inside]
    if not inside:
        axis.set_axis_off()
        axis.text(0.5, 0.5, "no curve has its minimum\ninside the sizes trained", ha="center", va="center")
        return
    axis.plot(
        [curve.flops for curve in inside], [curve.best_tokens for curve in inside], "*", color=PALETTE[0], markersize=10
    )
    law = result.law
    if law:
        x = np.geomspace(min(curve.flops for curve in inside) / 2, result.target_flops * 1.5, 50)
        axis.plot(x, law.factor * x**law.exponent, color=PALETTE[0], label=f"FLOPs^{law.exponent:.3f}")
        low, high = law.best_tokens_interval or (law.best_tokens, law.best_tokens)
        axis.plot([result.target_flops] * 2, [low, high], color=PALETTE[1], linewidth=2)
        axis.plot(result.target_flops, law.best_tokens, "D", color=PALETTE[1], label="the base run", markersize=6)
        axis.legend(frameon=False, fontsize=8)
    axis.set_xscale("log")
    axis.set_yscale("log")
    axis.set_xlabel("training FLOPs")
    axis.set_ylabel("best number of tokens")


def scores(labels: Sequence[str], tasks: Mapping[str, Sequence[Interval | None]]) -> str:
    """Per task the share right of every model, with its interval."""
    with drawing(height=3.0) as (_, (axis,), svg):
        places = np.arange(len(labels))
        for number, (task, rows) in enumerate(tasks.items()):
            shift = (number - (len(tasks) - 1) / 2) * 0.08
            points = [(place + shift, row) for place, row in zip(places, rows, strict=True) if row]
            x, y = [place for place, _ in points], [row.value for _, row in points]
            spread = [[row.value - row.low for _, row in points], [row.high - row.value for _, row in points]]
            axis.errorbar(
                x,
                y,
                np.abs(spread),
                marker="o",
                markersize=4,
                color=PALETTE[number % 8],
                label=escape_label(task),
                capsize=2,
            )
        axis.set_xticks(places, list(map(escape_label, labels)))
        axis.set_ylim(-0.03, 1.03)
        axis.set_ylabel("share right")
        axis.legend(frameon=False, fontsize=8, ncols=2)
    return svg[0]


def ability_panel(ability: str, steps: Sequence[tuple[str, Interval | None]], worse: Sequence[str]) -> str:
    """A small panel: the share right after each step, with its interval; steps named in `worse` in red."""
    with _step_panel(ability, steps, worse, "{:.0%}".format, below=lambda row: row.high >= 0.86) as (axis, svg):
        axis.set_ylim(-0.05, 1.05)
        axis.set_yticks((0, 0.5, 1), ("0", "50 %", "100 %"))
    shown = [(label, row) for label, row in steps if row]
    words = ", ".join(f"{label} {row.value:.0%} ({row.low:.0%} to {row.high:.0%})" for label, row in shown)
    return with_alt_text(svg[0], f"{ability}, share right after each step: {words}")


def text_panel(text: str, steps: Sequence[tuple[str, Interval | None]], worse: Sequence[str]) -> str:
    """A small panel: bits a byte of a text after each step, with its interval; steps named in `worse` in red."""
    with _step_panel(text, steps, worse, "{:.3f}".format) as (axis, svg):
        axis.margins(y=0.3)  # what is written stands inside
    shown = [(label, row) for label, row in steps if row]
    words = ", ".join(f"{label} {row.value:.3f} ({row.low:.3f} to {row.high:.3f})" for label, row in shown)
    return with_alt_text(svg[0], f"{text}, bits a byte after each step: {words}")


@contextmanager
def _step_panel(
    title: str, steps: Sequence[tuple[str, Interval | None]], worse: Sequence[str], form: Callable[[float], str],
    below: Callable[[Interval], bool] = lambda row: False,
) -> Iterator[tuple[Any, list[str]]]:  # fmt: skip
    """The axis of a small panel with a point for each step; when the block ends, the list holds the SVG. below: whether
    a value is written below its interval."""
    rows = [(place, label, row) for place, (label, row) in enumerate(steps) if row]
    with drawing(height=2.2, width=2.9) as (_, (axis,), svg):
        axis.plot([place for place, _, _ in rows], [row.value for _, _, row in rows], color=PALETTE[0], linewidth=1.2)
        for place, label, row in rows:
            colour = PALETTE[1] if label in worse else PALETTE[0]
            spread = np.abs([[row.value - row.low], [row.high - row.value]])
            axis.errorbar(place, row.value, spread, marker="o", markersize=4, color=colour, capsize=2)
            axis.annotate(
                form(row.value),
                (place, row.low if below(row) else row.high),
                textcoords="offset points",
                xytext=(0, -10 if below(row) else 3),
                ha="center",
                fontsize=8,
                color=colour,
            )
        axis.set_title(escape_label(title), fontsize=10, loc="left")
        axis.set_xticks(range(len(steps)), [escape_label(label) for label, _ in steps], rotation=45, ha="right")
        axis.set_xlim(-0.5, len(steps) - 0.5)
        yield axis, svg


def shares(mixes: Mapping[str, Mapping[str, float]]) -> str:
    """A bar for every mix, divided by source."""
    sources = list(next(iter(mixes.values())))
    with drawing(height=0.6 + 0.32 * len(mixes)) as (_, (axis,), svg):
        start = np.zeros(len(mixes))
        for source, colour in zip(sources, PALETTE * len(sources), strict=False):
            values = np.array([mix[source] for mix in mixes.values()])
            axis.barh(
                list(map(escape_label, mixes)), values, left=start, color=colour, label=escape_label(source), height=0.7
            )
            start += values
        axis.set_axisbelow(True)
        axis.invert_yaxis()
        axis.set_xlim(0, 1)
        axis.set_xlabel("share of the rows read")
        axis.legend(frameon=False, fontsize=8, ncols=1, loc="center left", bbox_to_anchor=(1.0, 0.5))
    return svg[0]


def measured_vs_forecast(rows: Sequence[MixPrediction]) -> str:
    """Measured losses over those predicted, with the forecasts' intervals, of those that were measured."""
    with drawing(height=3.2) as (_, (axis,), svg):
        measured = [(row, row.measured) for row in rows if row.measured is not None]
        losses = [*(row.loss for row, _ in measured), *(loss for _, loss in measured)]
        low, high = min(losses), max(losses)
        axis.plot([low, high], [low, high], color=GRID)
        for (row, loss), colour in zip(measured, PALETTE * len(measured), strict=False):
            axis.plot(row.interval, [loss] * 2, color=colour, linewidth=2, alpha=0.5)
            axis.plot(row.loss, loss, "o", color=colour, label=escape_label(row.label))
        axis.set_xlabel("predicted loss, nats per token")
        axis.set_ylabel("measured loss")
        axis.legend(frameon=False, fontsize=8)
    return svg[0]


def scatter(rows: Sequence[tuple[str, float, float, float, float]], x: str, y: str) -> str:
    """A point with its interval for every (name, place, value, low, high)."""
    with drawing(height=3.2) as (_, (axis,), svg):
        for (name, at, value, low, high), colour in zip(rows, PALETTE * len(rows), strict=False):
            axis.plot([at, at], [low, high], color=colour, linewidth=2, alpha=0.5)
            axis.plot(at, value, "o", color=colour, label=escape_label(name))
        axis.set_xlabel(x)
        axis.set_ylabel(y)
        axis.legend(frameon=False, fontsize=8, loc="center left", bbox_to_anchor=(1, 0.5))
    return svg[0]


def curve_with_band(rows: Mapping[str, Sequence[tuple[float, float, float, float]]], x: str, y: str) -> str:
    """For every name a line through (place, value, low, high)."""
    with drawing(height=3.0) as (_, (axis,), svg):
        for (name, points), colour in zip(rows.items(), PALETTE * len(rows), strict=False):
            at, value, low, high = (np.array(column) for column in zip(*points, strict=True))
            axis.fill_between(at, low, high, color=colour, alpha=0.15, linewidth=0)
            axis.plot(at, value, marker="o", markersize=4, color=colour, label=escape_label(name))
        axis.axhline(0, color=INK, linewidth=0.7)
        axis.set_xlabel(x)
        axis.set_ylabel(y)
        axis.legend(frameon=False, fontsize=8)
    return svg[0]


def two_steps(tasks: Mapping[str, Mapping[str, Any]]) -> str:
    """By task the right answers' NLL over training FLOPs, and accuracy over NLL, each with its band; diamonds are what
    is forecast."""
    with drawing(2) as (_, (left_axis, right_axis), svg):
        for (name, row), colour in zip(tasks.items(), PALETTE * len(tasks), strict=False):
            flops, nll, accuracy = zip(*row["runs"], strict=True)
            for axis, points, drawn_by in ((left_axis, (flops, nll), "line"), (right_axis, (nll, accuracy), "curve")):
                at, value, low, high = (np.array(column) for column in zip(*row[drawn_by], strict=True))
                axis.fill_between(at, low, high, color=colour, alpha=0.15, linewidth=0)
                axis.plot(at, value, color=colour, label=escape_label(name))
                axis.plot(*points, "o", color=colour, markersize=4)
            middle, smallest, largest = row["nll"]
            share, low, high = row["accuracy"]
            # Resampled intervals may leave the middle out.
            in_nll, in_share = (
                np.abs([[middle - smallest], [largest - middle]]),
                np.abs([[share - low], [high - share]]),
            )
            left_axis.errorbar(row["flops"], middle, in_nll, fmt="D", color=colour, capsize=3)
            right_axis.errorbar(middle, share, in_share, in_nll, fmt="D", color=colour, capsize=3)
        left_axis.set_xscale("log")
        left_axis.set_xlabel("training FLOPs")
        left_axis.set_ylabel("nats of the right answer a character")
        right_axis.set_xlabel("nats of the right answer a character")
        right_axis.set_ylabel("share right")
        right_axis.invert_xaxis()
        left_axis.legend(frameon=False, fontsize=8)
    return svg[0]
