"""Toolboxes: an error is an answer too, and one is found again by name with its settings."""

from __future__ import annotations

import pytest

from herd.core.errors import SettingsError
from herd.core.records import ToolCall
from herd.generate.toolbox import NO_TOOLS, Toolbox, toolboxes
from herd.world import toolbox as world_toolbox


def test_a_tool_that_is_not_there_answers_that_it_is_not() -> None:
    assert NO_TOOLS.names == ()
    for box in (NO_TOOLS, Toolbox(("lookup",))):
        assert box.run(ToolCall("lookup", {"query": "x"})) == "error: there is no tool called lookup"


def test_a_toolbox_written_down_plainly_is_made_again() -> None:
    written = toolboxes.dump(toolboxes.configure(f"{world_toolbox.__name__}:world_tools"))
    box = toolboxes.make(toolboxes.parse(written))()
    assert isinstance(box, Toolbox)
    assert "calculator" in box.names
    assert box.run(ToolCall("calculator", {"query": "6*7"})) == "42"
    with pytest.raises(SettingsError, match="'world_tool' is not one of the toolboxes; did you mean 'world_tools'"):
        toolboxes.configure("world_tool")
