"""Ways to find documents that say what another one says. One function is one way; a new file here is found."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from herd.core.records import Document, Verdict
from herd.core.registry import Registry

dedups: Registry[Callable[[Sequence[Document]], list[Verdict]]] = Registry("dedups", __name__)
