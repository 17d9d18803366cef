"""What models answered."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from herd.core.artifacts import Artifact
from herd.evals.results import EvaluationResult, TaskResult
from herd.report.sections import Section, fill_template, results_of, sections
from herd.report.sections.evaluation import task_names


@sections.add(EvaluationResult, order=90)
def samples_section(artifacts: Sequence[Artifact]) -> Section | None:
    """The same first questions of every task, and what each model answered."""
    results = results_of(artifacts, EvaluationResult)
    tasks = [_task(name, results) for name in task_names(results)]
    html = fill_template(Path(__file__).with_suffix(".html"), tasks=tasks)
    return Section("samples", "Samples", html) if tasks else None


def _task(name: str, results: Sequence[EvaluationResult]) -> dict[str, Any]:
    questions: dict[int, dict[str, Any]] = {}
    for result in results:
        score = result.tasks.get(name)
        for number, sample in enumerate(score.samples if isinstance(score, TaskResult) else ()):
            entry = questions.setdefault(number, {"question": sample.prompt, "answers": []})
            if result.chat:  # a chat model's prompt is the bare question
                entry["question"] = sample.prompt
            entry["answers"].append({"label": result.label, "text": sample.answer, "right": sample.right})
    return {"name": name, "questions": list(questions.values())}
