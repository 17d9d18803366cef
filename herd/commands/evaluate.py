"""`herd eval`: what a model scores."""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from herd.commands.arguments import add_device, add_plugins, amount, bounded_number
from herd.commands.benchmark_options import add_benchmark_options, chat_option, with_benchmark_options
from herd.commands.command import Command

if TYPE_CHECKING:
    from herd.core.registry import PluginConfig
    from herd.core.status_line import StatusLine
    from herd.evals.answers import AnswerStore
    from herd.evals.harness import Score

_ADDRESSES = ("http://", "https://")


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "checkpoint",
        help="folder of a model, or of a run for its newest, or an address such as http://127.0.0.1:8000/v1",
    )
    parser.add_argument(
        "tasks",
        nargs="*",
        help="names (herd list tasks) or groups (ruler), or `name: {setting: value}`; without any those of its run",
    )
    parser.add_argument(
        "--out", type=Path, metavar="DIR", help="keep every answer here, with a page; the same command goes on from it"
    )
    add_benchmark_options(parser)
    parser.add_argument("--json", action="store_true", help="print JSON")
    add_device(parser)
    add_plugins(parser)
    server = parser.add_argument_group("of an address that speaks OpenAI's protocol")
    server.add_argument("--model", metavar="NAME", help="the model, as the server calls it")
    server.add_argument(
        "--api-key-env", default="OPENAI_API_KEY", metavar="NAME", help="variable with the access key (%(default)s)"
    )
    server.add_argument(
        "--max-concurrency", type=amount, default=8, metavar="N", help="requests at once (default: %(default)s)"
    )
    server.add_argument(
        "--timeout-seconds", type=bounded_number(1.0), default=300.0, metavar="S", help="of a request (%(default)s)"
    )


def run(options: argparse.Namespace) -> None:
    from herd.core.plugins import load_plugins

    load_plugins(options.plugins, "--plugins")
    if options.checkpoint.startswith(_ADDRESSES):
        _run_endpoint(options)
        return
    from herd.evals.task_groups import expand_tasks

    named = expand_tasks(options.tasks, options.data)
    options.tasks = list(named.texts)
    folder = Path(options.checkpoint)
    if (folder / "config.json").exists() and not (folder / "artifact.json").exists():
        _check_task_names(options.tasks)  # before the model is read; a run may know tasks that nobody else does
    from herd.evals.stages import evaluate_folder
    from herd.serve.folders import model_in, tasks_named

    folder = model_in(folder)
    uses = [with_benchmark_options(use, options) for use in tasks_named(options.tasks, folder)]
    _check_names_differ(uses, options)
    results = _Results(options, str(folder), named.groups)

    def measure(store: AnswerStore | None) -> None:
        evaluate_folder(
            folder, uses, results.report, device=options.device, dtype=options.dtype, progress=results.begin,
            store=store, limit=options.limit, apply_chat_template=chat_option(options),
            truncate_left=options.truncate_left,
        )  # fmt: skip

    results.keep(measure)


def _run_endpoint(options: argparse.Namespace) -> None:
    """The model behind an address."""
    from herd.core.errors import SettingsError
    from herd.evals.endpoint import Endpoint
    from herd.evals.endpoint_tasks import evaluate_address
    from herd.evals.task_groups import expand_tasks

    if not options.model or not options.tasks:
        raise SettingsError(f"{options.checkpoint} serves models by name; give one with --model, and tasks")
    if options.truncate_left:
        raise SettingsError("how long a prompt is, only the server of an address knows; leave --truncate-left out")
    named = expand_tasks(options.tasks, options.data)
    options.tasks = list(named.texts)
    _check_task_names(options.tasks)
    endpoint = Endpoint(
        options.checkpoint,
        options.model,
        options.api_key_env,
        options.timeout_seconds,
        max_concurrency=options.max_concurrency,
    )
    results = _Results(options, f"{options.model} at {options.checkpoint}", named.groups)
    uses = [with_benchmark_options(use, options) for use in _parse_tasks(options.tasks)]
    _check_names_differ(uses, options)

    def measure(store: AnswerStore | None) -> None:
        evaluate_address(
            endpoint, uses, results.report, chat=chat_option(options) is not False, progress=results.begin, store=store,
            limit=options.limit,
        )  # fmt: skip

    results.keep(measure)


class _Results:
    """Prints progress and scores, also of groups of tasks, and keeps answers where they are to be kept."""

    def __init__(self, options: argparse.Namespace, model: str, groups: Mapping[str, Sequence[str]]) -> None:
        self._json, self._out, self._model, self._groups = options.json, options.out, model, groups
        self._rows: dict[str, dict[str, Any]] = {}
        self._lines: list[StatusLine] = []

    def keep(self, measure: Callable[[AnswerStore | None], None]) -> None:
        from herd.evals.answers import AnswerStore
        from herd.report.answers import write_answers_page

        store = AnswerStore(self._out) if self._out is not None else None
        with store.sole_writer() if store is not None else nullcontext():
            measure(store)
            if store is not None:
                page = write_answers_page(store.folder)
                print(f"answers: {store.folder}, page: {page}", file=sys.stderr, flush=True)
        groups = self._group_means()
        if self._json:
            row = {"model": self._model, "tasks": self._rows}
            print(json.dumps(row | ({"groups": groups} if groups else {}), indent=1))

    def _group_means(self) -> dict[str, Any]:
        from herd.evals.task_groups import group_mean

        means: dict[str, Any] = {}
        for group, members in self._groups.items():
            mean = group_mean([self._rows.get(member, {}) for member in members])
            if mean is not None:
                means[group] = asdict(mean)
                if not self._json:
                    print(f"{group:20} {mean}", flush=True)
        return means

    def begin(self, name: str) -> StatusLine:
        from herd.core.status_line import StatusLine

        self._lines.append(StatusLine(name))
        print(f"{name}: started", file=sys.stderr, flush=True)
        return self._lines[-1]

    def report(self, name: str, score: Score) -> None:
        self._lines[-1].clear()
        # What has no interval has none in JSON, which has no word for infinity.
        self._rows[name] = {field: _finite(value) for field, value in asdict(score.result()).items()}
        if not self._json:
            print(f"{name:20} {score}", flush=True)
        for note in getattr(score, "notes", ()):
            print(f"{name}: {note}", file=sys.stderr, flush=True)


def _finite(value: object) -> object:
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _parse_tasks(texts: Sequence[str]) -> list[PluginConfig]:
    from herd.core.settings import parse_yaml
    from herd.evals.tasks import tasks

    return [tasks.parse(parse_yaml(text, where=f"task {text!r}")) for text in texts]


def _check_names_differ(uses: Sequence[PluginConfig], options: argparse.Namespace) -> None:
    """Raises SettingsError where a task comes twice and its results go under its name."""
    from herd.core.errors import SettingsError

    names = [use.name for use in uses]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None and (options.json or options.out is not None):
        raise SettingsError(f"{twice} is named twice, and results are kept by name; measure it in two commands")


def _check_task_names(texts: Sequence[str]) -> None:
    """Raises SettingsError for a task that nobody knows."""
    from herd.core.settings import parse_yaml
    from herd.evals.tasks import tasks

    for text in texts:
        value = parse_yaml(text, where=f"task {text!r}")
        name = next(iter(value)) if isinstance(value, dict) and len(value) == 1 else value
        if isinstance(name, str):  # all else is told where settings are read
            tasks.get(name)


COMMAND = Command("eval", "measure a model", add_options, run)
