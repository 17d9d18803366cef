"""The side of the pool that runs math-verify and sympy: `python -m herd.judge.maths_worker`.

Neither is trusted to end: both may hang in sympy, where only the end of the process helps (`herd.judge.killable`).
"""

from __future__ import annotations

import importlib
import logging
from collections.abc import Callable
from typing import Any

from herd.judge.killable import serve_calls


def verify_answer(answer: str, solution: str) -> list[Any]:
    """Whether math-verify holds the answer for that of the solution, and what it read out of both, as text.

    Its own time limits are off: they rely on a signal, which no thread gets.
    """
    math_verify: Any = importlib.import_module("math_verify")
    gold = math_verify.parse(solution, parsing_timeout=None)
    prediction = math_verify.parse(answer, parsing_timeout=None)
    right = bool(prediction) and math_verify.verify(gold, prediction, timeout_seconds=None)
    return [right, _words(prediction), _words(gold)]


def _words(parsed: list[Any]) -> str:
    """How it was written where that is there: to print a number may take longer than to compare it."""
    return next((part[:500] for part in reversed(parsed) if isinstance(part, str)), "")


def equivalent(first: str, second: str) -> bool:
    """Whether two normalized answers in LaTeX are equal, as sympy reads and simplifies them; not, where it cannot.

    Source: lm-eval, minerva_math, is_equiv.
    """
    sympy: Any = importlib.import_module("sympy")
    latex: Any = importlib.import_module("sympy.parsing.latex")
    try:
        return bool(sympy.simplify(latex.parse_latex(first) - latex.parse_latex(second)) == 0)
    except Exception:  # sympy raises what it likes at text that is no maths; lm-eval takes it as unequal too
        return False


FUNCTIONS: dict[str, Callable[..., Any]] = {"verify_answer": verify_answer, "equivalent": equivalent}

if __name__ == "__main__":
    logging.disable(logging.CRITICAL)
    serve_calls(FUNCTIONS)
