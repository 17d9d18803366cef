"""Random numbers that depend on a seed and on names, so that no two users of one seed disturb each other."""

from __future__ import annotations

import hashlib
import random


def rng(seed: int, *names: object) -> random.Random:
    """A generator of its own for everything called by `names`.

    Adding a draw in one place must not change what another place draws; one shared stream would.
    """
    return random.Random("/".join(map(str, (seed, *names))))


def fraction(seed: int, *names: object) -> float:
    """A fixed number in 0..1 for `names`; decides splits that every process must agree on."""
    text = "/".join(map(str, (seed, *names)))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") / 2**64
