"""The world's tools for a model that was taught to call them."""

from __future__ import annotations

from functools import partial

from herd.generate.toolbox import Toolbox, toolboxes
from herd.world import tools
from herd.world.truth import World


@toolboxes.add
def world_tools(*, world: World) -> Toolbox:
    """A calculator, and a look-up that knows whoever lives in the world. Source: herd's world; Llama 3, 4.3.5."""
    return Toolbox(tools.TOOL_NAMES, partial(tools.run_tool, people=world.everybody))
