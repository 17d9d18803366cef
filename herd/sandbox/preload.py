"""What programs of textbook problems use: loaded once in the fork server, so that a run does not wait for it.

Every library and every page of the server costs each run a little, whether it uses it or not: a fork copies the tables
that lead to them. So modules that few programs use and that bring libraries of their own (hashlib, tempfile, queue,
unicodedata, cmath) are not here; a program that wants them loads them itself, in a few milliseconds.
"""

from __future__ import annotations

PRELOADED_MODULES = """
abc ast bisect calendar collections collections.abc contextlib copy dataclasses datetime decimal enum fractions
functools heapq inspect io itertools json math numbers operator os os.path random re statistics string sys textwrap
threading time traceback types typing unittest
""".split()


def load_modules() -> None:
    """Loads them into this process."""
    for name in PRELOADED_MODULES:
        __import__(name)
