"""Options of `herd eval` that stand for settings of many benchmarks at once."""

from __future__ import annotations

import argparse
import inspect
from typing import TYPE_CHECKING, Any

from herd.core.errors import SettingsError

if TYPE_CHECKING:
    from herd.core.registry import PluginConfig

_CHAT = {"auto": None, "yes": True, "no": False}


def add_benchmark_options(parser: argparse.ArgumentParser) -> None:
    """Where benchmarks lie, how much of them is asked, and how they are put."""
    parser.add_argument("--data", metavar="FOLDER", help="holds a folder or file of each benchmark")
    parser.add_argument(
        "--limit", type=int, default=0, metavar="N", help="of each task at most N examples (default: all)"
    )
    parser.add_argument("--num-fewshot", type=int, metavar="K", help="shots before each question")
    parser.add_argument(
        "--apply-chat-template",
        choices=tuple(_CHAT),
        default="auto",
        help="ask in the model's chat format; auto: if it was taught one",
    )
    parser.add_argument(
        "--truncate-left", action="store_true", help="cut the first tokens of prompts that are too long, and count them"
    )


def chat_option(options: argparse.Namespace) -> bool | None:
    """Whether a task is put in the chat format; None where the model says."""
    return _CHAT[options.apply_chat_template]


def with_benchmark_options(use: PluginConfig, options: argparse.Namespace) -> PluginConfig:
    """The task with what the options say, where its own settings say nothing.

    Raises SettingsError for an option that the task has no setting for, and for data that is not in the folder.
    """
    from herd.evals.tasks import tasks

    if options.limit < 0:
        raise SettingsError(f"--limit is {options.limit}; give how many examples are asked at most, or 0 for all")
    parameters = inspect.signature(tasks.get(use.address)).parameters
    values: dict[str, Any] = {"limit": options.limit or None, "num_fewshot": options.num_fewshot}
    changes: dict[str, Any] = {}
    for name, value in values.items():
        if value is None:
            continue
        if name == "limit" and name not in parameters:
            continue  # the first of its examples are asked
        if name not in parameters:
            raise SettingsError(f"the task {use.name} has no setting {name}; leave --{name.replace('_', '-')} out")
        if use.settings[name] == parameters[name].default:
            changes[name] = value
    place = _place(use, options.data)
    if place is not None:
        changes["data"] = place
    return tasks.configure(use.address, **(dict(use.settings) | changes)) if changes else use


def _place(use: PluginConfig, folder: str | None) -> str | None:
    from herd.evals.benchmarks import SOURCES
    from herd.evals.datasets import find_data

    source = SOURCES.get(use.name)
    if folder is None or source is None or use.settings["data"] is not None:
        return None
    place = find_data(folder, source)
    if place is None:
        names = ", ".join(dict.fromkeys((use.name, *source.names, source.hub.replace("/", "___"))))
        raise SettingsError(f"{folder} has no file or folder of {use.name} (it would be called {names}); put it there")
    return place
