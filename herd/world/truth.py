"""The settings of a world: from them everything that is true in it follows."""

from __future__ import annotations

from functools import cached_property

from herd.core.settings import PositiveInt, Share, settings
from herd.world.facts import People


@settings
class World:
    """One small world.

    people: how many persons live in it. written_share: share of facts that documents tell; the others are
    true and never written, so that "I don't know" is the honest answer.
    """

    seed: int = 0
    people: PositiveInt = 48
    written_share: Share = 0.6

    @cached_property
    def everybody(self) -> People:
        return People(self.seed, self.people, self.written_share)


DEFAULT_WORLD = World()
