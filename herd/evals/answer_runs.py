"""Stored answers to one task, with all that is needed to grade them again under the settings of another run."""

from __future__ import annotations

import functools
import json
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from herd.core.errors import HerdError
from herd.core.records import Message
from herd.evals.answers import AnswerRecord, AnswerStore, RunSettings, TaskAnswers
from herd.evals.harness import weigh_choices
from herd.evals.replay import AnswerEnding, ReplayedAnswer
from herd.evals.resumable import PROMPT_SETTINGS, answer_of
from herd.evals.sized import SizedTask
from herd.evals.task import Example, Generate, Grade, LogLikelihood, ModelAnswer, Task
from herd.evals.tasks import tasks

# Grades an answer as it would be under another ending; None where this grader cannot tell.
Regrade = Callable[[AnswerRecord, ReplayedAnswer], Grade | None]

# Of a task's settings, which say what is asked and how answers are written, and nothing of how they are graded. A style
# of prompts has its own words for the answer, which its grader looks for.
_NO_GRADING = frozenset(PROMPT_SETTINGS) - {"prompt_style"} | frozenset(
    ("data", "split", "limit", "subsets", "max_tokens", "stop", "num_samples", "temperature", "top_p", "k")
)


@dataclass(frozen=True)
class AnswerRun:
    """The answers of one model to one task.

    label: what people call it. model: what tells the model from others. precision: in which its numbers are. prompt: by
    which prompts may differ, by the name of the cause. sampling: by which draws differ. k: of pass@k. grader: what
    tells how answers are graded from other ways. records: of every item its samples, in order. regrade: by this run's
    grader. notes: what has to be known.
    """

    task: str
    label: str
    model: str
    prompt: Mapping[str, Any]
    ending: AnswerEnding
    sampling: str
    k: int
    grader: str
    records: Mapping[str, tuple[AnswerRecord, ...]]
    regrade: Regrade
    output: str = "generate"
    notes: tuple[str, ...] = ()
    precision: str = ""


@dataclass(frozen=True)
class TaskGrader:
    """The grader of a task of herd, which is made when it is first needed."""

    settings: RunSettings
    problems: list[str] = field(default_factory=list)

    def __call__(self, record: AnswerRecord, answer: ReplayedAnswer) -> Grade | None:
        made = self._task_and_examples
        example = made[1].get(record.id) if made else None
        if made is None or example is None:
            return None
        task = made[0]
        chat = bool(self.settings.prompt.get("chat"))
        if isinstance(task.output_type, LogLikelihood):
            return _grade_choice(task, task.output_type, example, record, chat)
        if (
            not isinstance(task.output_type, Generate)
            or record.choices
            or (record.message and answer.text != record.response)
        ):
            return None  # calls of tools cannot be cut
        response = answer_of(record, chat=chat)
        if answer.text != record.response:
            response = replace(response, text=answer.text, message=Message("assistant", answer.text))
        return task.judge(example, replace(response, finished=not answer.truncated))

    @functools.cached_property
    def _task_and_examples(self) -> tuple[Task, dict[str, Example]] | None:
        try:
            task: Task | SizedTask = tasks.make(tasks.parse(dict(self.settings.settings)))()
        except (HerdError, OSError) as fault:
            self.problems.append(f"answers cannot be graded again as {self.settings.task}: {fault}")
            return None
        if isinstance(task, SizedTask):
            self.problems.append(f"{self.settings.task} is made for each model's tokenizer; answers stay as graded")
            return None
        return task, {example.id: example for example in task.examples}


def _grade_choice(
    task: Task, likelihood: LogLikelihood, example: Example, record: AnswerRecord, chat: bool
) -> Grade | None:
    """The choice that is likeliest as this task weighs them; None where other choices were scored."""
    choices = tuple(likelihood.choices(example))
    needs_alone = likelihood.normalize == "pmi" and not record.unconditional
    if likelihood.greedy or likelihood.contexts or choices != record.choices or needs_alone:
        return None
    weighed = weigh_choices(
        likelihood.normalize, choices, record.log_likelihoods, record.choice_tokens, record.unconditional
    )
    best = max(range(len(choices)), key=lambda place: (weighed[place], -place))
    message = Message("assistant", choices[best])
    return task.judge(example, ModelAnswer(choices[best], message, chat, True, best, record.log_likelihoods))


def stored_runs(folder: Path, label: str = "") -> dict[str, AnswerRun]:
    """The runs in a folder of answers, by task. Raises ArtifactError where there are none."""
    stored_tasks = AnswerStore(folder).tasks()
    return {name: run_of(answers, label or folder.name) for name, answers in stored_tasks.items()}


def run_of(answers: TaskAnswers, label: str) -> AnswerRun:
    """The answers of one task as a run."""
    settings = answers.settings()
    records: defaultdict[str, list[AnswerRecord]] = defaultdict(list)
    for record in answers.records().values():
        records[record.id].append(record)
    own = {name: tuple(sorted(rows, key=lambda row: row.sample)) for name, rows in records.items()}
    generation, prompt = settings.generation, settings.prompt
    return AnswerRun(
        settings.task,
        label,
        _identity_of(settings.model),
        prompt_causes(prompt),
        AnswerEnding(
            tuple(generation.get("stop", ())), int(generation.get("max_tokens", 0)), "address" not in settings.model
        ),
        json.dumps([generation.get(name) for name in ("temperature", "top_p")]),
        int(generation.get("k", 1)),
        _grading_of(settings),
        own,
        TaskGrader(settings),
        settings.output,
        precision=str(settings.model.get("dtype", "")),
    )


def _identity_of(model: Mapping[str, Any]) -> str:
    """What tells a model from others: its weights, whatever its folder is called, else all that is known of it."""
    rest = {name: value for name, value in model.items() if name != "dtype"}
    return json.dumps(model.get("weights") or rest, sort_keys=True)


def prompt_causes(prompt: Mapping[str, Any]) -> dict[str, Any]:
    """By which prompts may differ, under the names of causes."""
    names = {
        "chat template": ("chat", "template"),
        "system prompt": ("system_prompt",),
        "shots": ("num_fewshot", "fewshot_seed", "exemplars"),
        "prompt wording": ("prompt_style", "prompt_suffix", "scoring", "truncate_left"),
    }
    return {cause: list(map(prompt.get, keys)) for cause, keys in names.items()}


def _grading_of(settings: RunSettings) -> str:
    """What of a task's settings grading depends on, as text."""
    rows = []
    for address, own in sorted(settings.settings.items()):
        rows.append([address, {name: value for name, value in (own or {}).items() if name not in _NO_GRADING}])
    return json.dumps(rows, sort_keys=True)
