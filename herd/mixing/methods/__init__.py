"""The methods of mixing: each is one function from a `MixProblem` (sources, a small model, a budget) to a
`MixResult`."""

from __future__ import annotations

from collections.abc import Callable

from herd.core.extras import ExtraPackage
from herd.core.registry import Registry
from herd.mixing.problem import MixResult

Method = Callable[..., MixResult]
methods: Registry[Method] = Registry("mixing methods", __name__)
# Those whose shares are only where a run starts, which then changes them.
ONLINE_METHODS = ("bandit",)
# Of the regression of that name, which is known before a run begins.
LIGHTGBM = ExtraPackage("lightgbm", "mixing", "regression lightgbm")
