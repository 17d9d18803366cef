"""`results.json` of a folder of answers: scores in the layout of lm-eval's results, with herd's intervals beside."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from herd.core.manifests import atomic_write
from herd.evals.answers import RESULTS_FILE, RunSettings
from herd.evals.intervals import Interval
from herd.evals.scores import Score, TaskScore, TextScore

_METRICS = {"likelihood": "acc", "generate": "score", "perplexity": "bits_per_byte"}
_FILTER = "none"  # lm-eval calls each figure `metric,filter`


def write_results(folder: Path, settings: RunSettings, score: Score) -> None:
    """Puts a task's score into the folder's `results.json`; those of other tasks stay."""
    file = folder / RESULTS_FILE
    try:
        row = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        row = {}
    row = row if isinstance(row, dict) else {}
    for name, value in result_row(settings, score).items():
        before = row.get(name)
        row[name] = {**(before if isinstance(before, dict) else {}), **value} if isinstance(value, dict) else value
    atomic_write(file, json.dumps(row, indent=1, sort_keys=True))


def result_row(settings: RunSettings, score: Score) -> dict[str, Any]:
    """A task's part of `results.json`. Raises nothing: what has no value is absent, as JSON knows no infinity.

    Source: lm-evaluation-harness 0.4, `EvaluationTracker.save_results_aggregated`.
    """
    name, metric = settings.task, _METRICS[settings.output]
    interval = score.interval
    figures: dict[str, Any] = {"alias": name} | _figure(metric, interval, standard_error(score))
    if isinstance(score, TaskScore):
        count, void = len(score.scores), len(score.scores) - len(score.valid_scores)
        for other, value in score.metrics.items():
            figures |= _figure(other, value)
        if score.macro is not None:
            figures |= _figure(f"macro_{metric}", score.macro)
        figures |= {"void": void, "unparsed": score.unparsed, "truncated_share": score.truncated_share}
    else:
        count, void = len(score.nats), 0
        figures |= {f"token_perplexity,{_FILTER}": score.result().token_perplexity}
    return {
        "results": {name: figures},
        "configs": {name: {key: value for key, value in asdict(settings).items() if key != "model"}},
        "versions": {name: "herd"},
        "n-shot": {name: settings.prompt.get("num_fewshot", 0)},
        "n-samples": {name: {"original": count, "effective": count - void}},
        "higher_is_better": {name: {metric: not isinstance(score, TextScore)}},
        "model_name": settings.model.get("name", ""),
        "model_source": "herd",
        "config": {"model": "herd", "model_args": dict(settings.model)},
        "chat_template_sha": settings.prompt.get("template") or None,
        "groups_of": {name: _groups(score)},
    }


def _figure(name: str, interval: Interval, stderr: float | None = None) -> dict[str, Any]:
    row: dict[str, Any] = {f"{name},{_FILTER}": _finite(interval.value)}
    if interval.is_bounded:
        row[f"{name}_interval,{_FILTER}"] = [interval.low, interval.high]
    if stderr is not None:
        row[f"{name}_stderr,{_FILTER}"] = stderr
    return row


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def standard_error(score: Score) -> float | None:
    """Of the mean over examples, as lm-eval prints it; None of fewer than two, and of texts."""
    values: Sequence[float] = score.valid_scores if isinstance(score, TaskScore) else ()
    return float(np.std(values, ddof=1)) / math.sqrt(len(values)) if len(values) > 1 else None


def _groups(score: Score) -> dict[str, dict[str, float]]:
    if not isinstance(score, TaskScore):
        return {}
    groups = score.by_group.items()
    return {group: {"score": sum(own) / len(own), "items": len(own)} for group, own in groups if own}
