"""The world's tools as a plug-in, found by name."""

from __future__ import annotations

from herd.core.records import ToolCall
from herd.generate.toolbox import toolboxes
from herd.world.toolbox import world_tools
from herd.world.tools import TOOL_NAMES


def test_there_is_a_calculator_and_nothing_else() -> None:
    box = world_tools()
    assert box.names == TOOL_NAMES == ("calculator",)
    assert box.run(ToolCall("calculator", {"query": "6*7"})) == "42"
    assert box.run(ToolCall("lookup", {"query": "6*7"})) == "error: there is no tool called lookup"


def test_another_process_makes_it_again_from_what_stands_on_a_card() -> None:
    row = toolboxes.dump(toolboxes.configure(world_tools.__name__))
    again = toolboxes.make(toolboxes.parse(row))()
    assert again.run(ToolCall("calculator", {"query": "12*12"})) == "144"
