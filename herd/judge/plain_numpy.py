"""What tests of HumanEval+ and MBPP+ want of numpy, in plain Python.

They compare plain values by `np.allclose` and ask whether one is an array. The sandbox has no numpy, and a program
there gives no array, so that this little is enough.
"""

from __future__ import annotations

import re

_IMPORT = re.compile(r"^[ \t]*(?:import|from)[ \t]+numpy\b", re.MULTILINE)
_SOURCE = '''
def _plain_numpy():
    """Stands for numpy where there is none."""
    import sys
    import types

    def isclose(first, second, rtol=1e-05, atol=1e-08):
        if not all(isinstance(value, (int, float, complex)) for value in (first, second)):
            raise TypeError("no numbers: " + type(first).__name__ + ", " + type(second).__name__)
        if first == second:
            return True
        return abs(second) != float("inf") and abs(first - second) <= atol + rtol * abs(second)

    def allclose(first, second, rtol=1e-05, atol=1e-08):
        lists = [isinstance(value, (list, tuple)) for value in (first, second)]
        if not any(lists):
            return isclose(first, second, rtol, atol)
        first = first if lists[0] else [first] * len(second)
        second = second if lists[1] else [second] * len(first)
        if len(first) != len(second):
            raise ValueError("operands could not be broadcast together")
        return all(allclose(one, other, rtol, atol) for one, other in zip(first, second))

    numpy = types.ModuleType("numpy")
    numpy.isclose, numpy.allclose = isclose, allclose
    for name in ("ndarray", "float32", "float64"):
        setattr(numpy, name, type(name, (), {}))
    numpy.inf, numpy.nan, numpy.pi = float("inf"), float("nan"), 3.141592653589793
    sys.modules["numpy"] = numpy


try:
    import numpy as _numpy
except ImportError:
    _plain_numpy()
'''


def with_plain_numpy(tests: str) -> str:
    """The tests, where they import numpy with what they want of it before them, which serves where numpy is absent.

    Source: Liu et al. 2023 (EvalPlus), whose published tests use `allclose`, `ndarray`, `float32` and `float64` only.
    """
    return f"{_SOURCE}\n{tests}" if _IMPORT.search(tests) else tests
