"""What models answered."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from herd.core.artifacts import Artifact
from herd.evals.results import EvaluationResult, TaskResult
from herd.report.sections import Section, filled, recorded_results, sections


@sections.add(EvaluationResult, order=90)
def samples(made: Sequence[Artifact]) -> Section | None:
    """The same first questions of every task, and what each model answered."""
    measured = recorded_results(made, EvaluationResult)
    shown = [_task(name, measured) for name in dict.fromkeys(task for result in measured for task in result.tasks)]
    html = filled(Path(__file__).with_suffix(".html"), samples=shown)
    return Section("samples", "Samples", html) if shown else None


def _task(name: str, measured: Sequence[EvaluationResult]) -> dict[str, Any]:
    asked: dict[int, dict[str, Any]] = {}
    for result in measured:
        score = result.tasks.get(name)
        for number, sample in enumerate(score.samples if isinstance(score, TaskResult) else ()):
            entry = asked.setdefault(number, {"asked": sample.prompt, "answers": []})
            if result.chat:  # a chat model is asked the bare question
                entry["asked"] = sample.prompt
            entry["answers"].append({"label": result.label, "text": sample.answer, "right": sample.right})
    return {"name": name, "questions": list(asked.values())}
