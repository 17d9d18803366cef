"""Short programs: their assertions hold, and would not hold of another function."""

from __future__ import annotations

import random
import re

from herd.world import programs


def test_programs_pass_their_own_tests() -> None:
    for seed in range(50):
        names: dict[str, object] = {}
        exec(programs.random_program(random.Random(seed)), names)
        assert any(callable(value) for name, value in names.items() if not name.startswith("__"))


def test_what_a_program_says_in_words_is_what_it_computes() -> None:
    seen = set()
    for seed in range(60):
        text = programs.random_program(random.Random(seed))
        found = re.search(r"def (\w+)_(\w+)\(x\):\n    \"\"\"(.*)\.\"\"\"\n    return (.*)\n", text)
        assert found is not None
        verb, number, words, body = found.groups()
        n = [str(one) for one in programs.WORDS].index(number)
        assert 2 <= n <= 12
        assert words == f"{verb.replace('_', ' ')} {number}".capitalize()
        compute = next(compute for name, _, compute in programs.OPERATIONS if name == verb)
        told = [(int(x), int(y)) for x, y in re.findall(r"assert \w+\((\d+)\) == (-?\d+)", text)]
        assert len({x for x, _ in told}) == 2
        assert all(eval(body, {"x": x}) == compute(x, n) == y for x, y in told)
        seen.add(verb)
    assert seen == {name for name, _, _ in programs.OPERATIONS}
