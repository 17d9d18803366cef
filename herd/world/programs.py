"""Short Python functions with tests."""

from __future__ import annotations

import random
from collections.abc import Callable

WORDS = "zero one two three four five six seven eight nine ten eleven twelve".split()
OPERATIONS: tuple[tuple[str, str, Callable[[int, int], int]], ...] = (
    ("add", "x + {n}", lambda x, n: x + n),
    ("subtract", "x - {n}", lambda x, n: x - n),
    ("multiply_by", "x * {n}", lambda x, n: x * n),
    ("double_then_add", "2 * x + {n}", lambda x, n: 2 * x + n),
    ("remainder_by", "x % {n}", lambda x, n: x % n),
)


def random_program(chance: random.Random) -> str:
    """A function, what it does in words, and two assertions that hold."""
    verb, body, compute = chance.choice(OPERATIONS)
    n = chance.randint(2, len(WORDS) - 1)
    name = f"{verb}_{WORDS[n]}"
    first, second = chance.sample(range(1, 20), 2)
    return (
        f"def {name}(x):\n"
        f'    """{verb.replace("_", " ").capitalize()} {WORDS[n]}."""\n'
        f"    return {body.format(n=n)}\n"
        f"\n"
        f"assert {name}({first}) == {compute(first, n)}\n"
        f"assert {name}({second}) == {compute(second, n)}\n"
    )
