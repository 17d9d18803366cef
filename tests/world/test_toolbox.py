"""The world's tools as a plug-in: found by name, with the world as a setting."""

from __future__ import annotations

from herd.core.records import ToolCall
from herd.generate.toolbox import toolboxes
from herd.world.toolbox import world_tools
from herd.world.tools import TOOL_NAMES
from herd.world.truth import World


def test_the_look_up_knows_whoever_lives_in_the_world_it_is_of() -> None:
    world, other = World(people=24), World(seed=9, people=24)
    fact = world.everybody.facts[0]
    call = ToolCall("lookup", {"query": f"{fact.attribute.name} of {fact.subject}"})
    found = world_tools(world=world)
    assert found.names == TOOL_NAMES
    assert found.run(call) == fact.value
    assert found.run(ToolCall("calculator", {"query": "6*7"})) == "42"
    theirs = other.everybody.find(fact.attribute.name, fact.subject)
    assert world_tools(world=other).run(call) == (theirs.value if theirs else "error: not found")


def test_another_process_makes_it_again_from_what_stands_on_a_card() -> None:
    world = World(seed=3, people=24)
    row = toolboxes.dump(toolboxes.configure(world_tools.__name__, world=world))
    again = toolboxes.make(toolboxes.parse(row))()
    for fact in world.everybody.facts[:20]:
        call = ToolCall("lookup", {"query": f"{fact.attribute.name} of {fact.subject}"})
        assert again.run(call) == fact.value
