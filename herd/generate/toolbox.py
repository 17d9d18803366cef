"""Tools that a model may call in a conversation. A toolbox is a plug-in: a function that gives one by its settings."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from herd.core.records import ToolCall
from herd.core.registry import Registry
from herd.core.results import results


@dataclass(frozen=True)
class Toolbox:
    """names: of the tools, as the model was taught them. run: what a tool answers to a call; an error is an answer too,
    tools never raise."""

    names: tuple[str, ...] = ()
    run: Callable[[ToolCall], str] = lambda call: f"error: there is no tool called {call.name}"


NO_TOOLS = Toolbox()


@results.add(version=1)
@dataclass(frozen=True)
class ToolboxUse:
    """The toolbox that dialogues call, as a recipe names it: its name, with its settings."""

    toolbox: Mapping[str, Any]


toolboxes: Registry[Callable[..., Toolbox]] = Registry("toolboxes", __name__)
