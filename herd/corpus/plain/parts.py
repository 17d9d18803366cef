"""What is known of each node of a page."""

from __future__ import annotations

import numpy as np

Mass = np.float32  # as the C++ has it: sums are rounded alike


class Part:
    """letters: non-space characters inside, and linked of those inside links. mass: how much of it reads like running
    text."""

    __slots__ = ("dropped", "hints", "letters", "linked", "mass")

    def __init__(self) -> None:
        self.hints, self.dropped, self.letters, self.linked, self.mass = 0, False, 0, 0, Mass(0)
