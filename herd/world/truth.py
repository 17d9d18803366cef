"""The settings of a world: from them everything that is true in it follows."""

from __future__ import annotations

from functools import cache, cached_property

from herd.core.errors import SettingsError
from herd.core.settings import PositiveInt, Share, settings
from herd.world.facts import FIRST_NAMES, LAST_NAMES, People


@settings
class World:
    """One small world of 1,600 names.

    asked_people, alignment_people, held_out_people: how many are well known and asked about in pages, in alignment, and
    only when a model is examined. strangers: how many are told of nowhere and asked about in alignment; as many others
    are asked about when a model is examined. All other names are the tail, which few pages tell of. tail_share: of the
    people in pages; asked_tail_share: of the people whom pages ask about. written_share: share of a well-known person's
    facts that pages tell; of one it is written_spread more, of the next as much less, as far as shares
    lie between 0 and 1. said_unknown_share: share of which pages say that they are unknown, so that nobody's name means
    that all is known; of the people whom pages ask about, all others. The rest is true and never written, so that "I
    don't know" is the honest answer. unknown_share: of the tail's facts, of which pages say that they are unknown.
    """

    seed: int = 0
    asked_people: PositiveInt = 40
    alignment_people: PositiveInt = 44
    held_out_people: PositiveInt = 36
    strangers: PositiveInt = 150
    tail_share: Share = 0.3
    asked_tail_share: Share = 0.7
    written_share: Share = 0.4
    written_spread: Share = 0.2
    said_unknown_share: Share = 0.2
    unknown_share: Share = 0.8

    def __post_init__(self) -> None:
        names = len(FIRST_NAMES) * len(LAST_NAMES)
        taken = self.asked_people + self.alignment_people + self.held_out_people + 2 * self.strangers
        if taken > names - 10:
            raise SettingsError(
                f"the groups of the world take {taken} of {names} names and leave no tail; make one of them smaller"
            )
        if self.written_share + self.said_unknown_share > 1:
            raise SettingsError(
                f"written_share {self.written_share:g} and said_unknown_share {self.said_unknown_share:g} are more "
                "than all facts; lower one"
            )
        if not self.tail_share and not self.written_share:
            raise SettingsError("tail_share and written_share are both 0, so no page tells of anybody; raise one")

    @cached_property
    def everybody(self) -> People:
        return _everybody(self)


@cache
def _everybody(world: World) -> People:
    """Of all worlds with these settings: each task of an evaluation reads its own, and facts take a while to draw."""
    return People(
        world.seed,
        asked=world.asked_people,
        alignment=world.alignment_people,
        held_out=world.held_out_people,
        strangers=world.strangers,
        tail_share=world.tail_share,
        asked_tail_share=world.asked_tail_share,
        written_share=world.written_share,
        written_spread=world.written_spread,
        said_unknown_share=world.said_unknown_share,
        unknown_share=world.unknown_share,
    )


DEFAULT_WORLD = World()
