"""The methods of mixing: each is one function from a `MixProblem` (sources, a small model, a budget) to a
`MixResult`."""

from __future__ import annotations

from collections.abc import Callable

from herd.core.registry import Registry
from herd.mixing.problem import MixResult

Method = Callable[..., MixResult]
methods: Registry[Method] = Registry("mixing methods", __name__)
