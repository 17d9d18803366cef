"""What the world asks of a model. Every task takes the world it asks about as a setting.

Whoever imports this has them among herd's tasks.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from herd.core.registry import PluginConfig
from herd.world.tasks import arithmetic, conversation, facts, needles, talk, tools, translation
from herd.world.truth import World

__all__ = ["arithmetic", "conversation", "facts", "in_world", "needles", "talk", "tools", "translation"]


def in_world(uses: Sequence[PluginConfig], world: World) -> tuple[PluginConfig, ...]:
    """The tasks, those of a world asking about this one."""
    return tuple(
        replace(use, settings={**use.settings, "world": world}) if "world" in use.settings else use for use in uses
    )
