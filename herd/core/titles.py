"""What people call the stages of a run and what they made: names of their own, else words from the recipe, not keys."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from herd.core.artifacts import LABELS_FILE, Artifact, atomic_write, read_run_labels
from herd.core.stage import Plan

_MOST = 80  # characters of a name; a page and a line of progress have room for them


@dataclass(frozen=True)
class StageCall:
    """What names are made of: one call of a stage, planned or made. label: the name that its recipe gives it."""

    key: str
    stage: str
    inputs: Mapping[str, str | list[str] | None]
    settings: Mapping[str, Any]
    label: str = ""

    @classmethod
    def of_plan(cls, plan: Plan) -> StageCall:
        return cls(plan.key, plan.stage.name, plan.input_keys, plan.settings, plan.label)

    @classmethod
    def of_artifact(cls, artifact: Artifact) -> StageCall:
        metadata = artifact.metadata
        return cls(artifact.key, metadata["stage"], metadata["inputs"], metadata.get("settings", {}), artifact.label)


def call_titles(calls: Sequence[StageCall]) -> dict[str, str]:
    """A name for every call by its key, no two alike: its label; of a model what it is measured as, such as `before`;
    of what was read its source, such as `load_files: books`; else the stage, with its number among its kind where there
    are several, such as `pretrain 3`."""
    names = _measured_as(calls) | {call.key: call.label for call in calls if call.label}
    described = {call.key: _line(names.get(call.key, "")) or _line(_description(call)) for call in calls}
    kinds = Counter(call.stage for call in calls if not described[call.key])
    numbers: Counter[str] = Counter()
    titles: dict[str, str] = {}
    used: set[str] = set()
    for call in calls:
        title = described[call.key]
        if not title:
            numbers[call.stage] += 1
            title = call.stage if kinds[call.stage] == 1 else f"{call.stage} {numbers[call.stage]}"
        titles[call.key] = _unlike(title, used)
        used.add(titles[call.key])
    return titles


def plan_titles(plans: Iterable[Plan]) -> dict[str, str]:
    """By key what the stages of a run are called while it is planned and goes on, the stage's own name among it."""
    calls = [StageCall.of_plan(plan) for plan in plans]
    titles = call_titles(calls)
    return {call.key: with_stage(titles[call.key], call.stage) for call in calls}


def artifact_titles(artifacts: Iterable[Artifact]) -> dict[str, str]:
    """By key what artifacts of one run are called."""
    return call_titles([StageCall.of_artifact(artifact) for artifact in artifacts])


def with_stage(title: str, stage: str) -> str:
    """`after (pretrain)`; a title that begins with its stage is as it is."""
    return title if title.startswith(stage) else f"{title} ({stage})"


def _measured_as(calls: Sequence[StageCall]) -> dict[str, str]:
    """Of the models that an evaluation calls something, the first such name."""
    names: dict[str, str] = {}
    for call in calls:
        model, label = call.inputs.get("model"), call.settings.get("label")
        if isinstance(model, str) and isinstance(label, str) and label:
            names.setdefault(model, label)
    return names


def _description(call: StageCall) -> str:
    """By what the call says of itself; empty where that is nothing."""
    for name in ("label", "source"):
        words = call.settings.get(name)
        if isinstance(words, str) and words.strip():
            return f"{call.stage}: {words}"
    return ""


def _line(text: str) -> str:
    """`text` in one line that is not too long."""
    words = " ".join(text.split())
    return words if len(words) <= _MOST else f"{words[: _MOST - 3]}..."


def _unlike(title: str, others: set[str]) -> str:
    """`title`, with a number where one of the others is the same."""
    number, candidate = 1, title
    while candidate in others:
        number += 1
        candidate = f"{title} {number}"
    return candidate


# ---- labels on disk ----


def write_run_labels(run: Path, plans: Iterable[Plan]) -> None:
    """Keeps the names that a recipe gives beside the artifacts of its run, those of other recipes in the same folder
    among them. They are no part of an artifact: another name makes nothing again."""
    before = read_run_labels(run)
    labels = before | {plan.key: plan.label for plan in plans}
    labels = {key: label for key, label in labels.items() if label}
    if labels != before:
        atomic_write(run / LABELS_FILE, json.dumps(labels, indent=1, ensure_ascii=False))
