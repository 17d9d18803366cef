"""The world's tools for a model that was taught to call them."""

from __future__ import annotations

from herd.generate.toolbox import Toolbox, toolboxes
from herd.world import tools


@toolboxes.add
def world_tools() -> Toolbox:
    """A calculator. Source: herd's world; Llama 3, 4.3.5."""
    return Toolbox(tools.TOOL_NAMES, tools.run_tool)
