"""The methods of mixing: each is one function from a `Field` (sources, a small model, a budget) to `Found` shares."""

from __future__ import annotations

from collections.abc import Callable

from herd.core.registry import Registry
from herd.mixing.field import Found

Method = Callable[..., Found]
methods: Registry[Method] = Registry("mixing methods", __name__)
