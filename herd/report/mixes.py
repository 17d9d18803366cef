"""The report's part about mixes of data."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from herd.core.artifacts import Artifact
from herd.report import plots


def mixing(made: Sequence[Artifact]) -> dict[str, Any] | None:
    """The table of methods and the pictures of forecasts and probes; None when nothing was mixed."""
    result = next((one.figures["mixing"] for one in made if "mixing" in one.figures), None)
    parts = list(_parts(made))
    if result is None:
        return {"rows": [], "parts": parts} if parts else None
    searches = {row["method"]: row for row in result["searches"]}
    rows = [_row(row, searches.get(row["method"], {}), result["control"]) for row in result["rows"]]
    return {
        "words": _words(result),
        "drawing": plots.drawn(plots.shares({row["method"]: row["shares"] for row in result["rows"]})),
        "rows": rows,
        "parts": parts,
    }


def _words(result: Mapping[str, Any]) -> str:
    better = [row["method"] for row in result["rows"] if row["gain"][1] > 0]
    worse = [row["method"] for row in result["rows"] if row["gain"][2] < 0]
    seeds = max(row["seeds"] for row in result["rows"])
    said = f"Every method beside {result['control']} sampling, {seeds} seeds each. "
    said += (
        f"Better outside its interval: {', '.join(better)}. " if better else "Nothing beats it outside its interval. "
    )
    return said + (f"Worse: {', '.join(worse)}." if worse else "")


def _row(row: Mapping[str, Any], search: Mapping[str, Any], control: str) -> dict[str, str]:
    value, low, high = row["gain"]
    own = row["method"] == control
    return {
        "method": row["method"],
        "mean": f"{row['mean']:.3f}",
        "gain": "the control" if own else f"{value:+.3f} [{low:+.3f}, {high:+.3f}]",
        "verdict": "" if own else "good" if low > 0 else "bad" if high < 0 else "",
        "worst": f"{row['worst']:.3f}",
        "tokens": _number(row["tokens"], ".2f")
        if row["tokens"] is not None
        else f"{row['got_there']} of {row['seeds']} seeds",
        "flops": f"{search['flops']:.1e}" if search.get("flops") else "none",
        "over_seeds": _number(search.get("over_seeds"), ".3f"),
        "over_sizes": _number(search.get("over_sizes"), ".3f"),
        "times_plain": _number(search.get("times_plain"), ".2f"),
        "epochs": f"{row['epochs']:.1f}",
    }


def _number(value: float | None, form: str) -> str:
    return "" if value is None else format(value, form)


def _parts(made: Sequence[Artifact]) -> Iterator[dict[str, Any]]:
    for one in made:
        if "mixes_foretold" in one.figures:
            yield _foretold(one.figures["mixes_foretold"])
        if "upsampling" in one.figures:
            yield _upsampled(one.figures["upsampling"])
        if "curation" in one.figures:
            yield _curated(one.figures["curation"])


def _foretold(result: Mapping[str, Any]) -> dict[str, Any]:
    rows = result["rows"]
    off = float(np.mean([abs(row["loss"] - row["measured"]) for row in rows]))
    return {
        "title": "Mixes foretold from small runs",
        "words": f"{len(rows)} mixes, foretold {result['orders']:.1f} orders of magnitude beyond their largest small "
        f"run: rank correlation {result['rank_correlation']:.2f} with what was measured, losses off by {off:.3f} nats.",
        "drawing": plots.drawn(plots.against(rows)),
    }


def _upsampled(result: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "title": "Upsampling at the end",
        "words": f"The last part of the run is given to a mix with more of {', '.join(result['domains'])}; gains over "
        "the run without it in nats per token, paired by seed, with 95 % intervals.",
        "drawing": plots.drawn(
            plots.curve_with_band(result["curves"], "part of the run, at its end", "gain, nats per token")
        ),
    }


def _curated(result: Mapping[str, Any]) -> dict[str, Any]:
    rows = result["rows"]
    best, correlation = rows[0], result["rank_correlation"]
    said = "no relation that chance would not give" if result["by_chance"] > 0.05 else "more than chance would give"
    head = ("curation", "answers, nats a character", f"gain over {result['control']}", "text, nats a token")
    return {
        "title": "Curations, by what a model learns from each",
        "words": f"The same training on what each keeps of one pool, {best['seeds']} seeds each; {best['label']} was "
        f"best in {best['best']} of them. Agreement is the AUROC of kept against dropped for good pages against junk. "
        f"Rank correlation of what was learnt and agreement: {correlation:+.2f} (as far from zero by chance: "
        f"{result['by_chance']:.0%} of all orders), {said}.",
        "drawing": plots.drawn(
            plots.scattered(
                [(row["label"], row["agreement"], *row["answers"]) for row in rows],
                "agreement with labels, AUROC",
                "right answers, nats a character",
            )
        ),
        "head": (*head, "gain in text", "agreement", "best of seeds", "tokens kept"),
        "rows": [
            (
                row["label"],
                _interval(row["answers"], ""),
                "the control" if row["label"] == result["control"] else _interval(row["gain"], "+"),
                _interval(row["losses"], ""),
                "" if row["label"] == result["control"] else _interval(row["gain_in_text"], "+"),
                f"{row['agreement']:.3f}",
                f"{row['best']} of {row['seeds']}",
                f"{row['tokens']:,}" + (" (read more often than allowed)" if row["repeated"] else ""),
            )
            for row in rows
        ],
    }


def _interval(row: Sequence[float], sign: str) -> str:
    value, low, high = (format(one, f"{sign}.3f") for one in row)
    return f"{value} [{low}, {high}]"
