"""Rules that change documents rather than drop them. One function is one rule; a new file here is found."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from herd.core.registry import Registry

if TYPE_CHECKING:
    import pyarrow as arrow


@dataclass(frozen=True)
class RewriteResult:
    """The texts as a rule leaves them. edits: what it took out, [N, len(stats.EDIT_STATS)], where it counts that.
    metrics: what the report should know."""

    texts: arrow.LargeStringArray
    edits: NDArray[np.float64] | None = None
    metrics: dict[str, int] | None = None


rewrites: Registry[Callable[..., RewriteResult]] = Registry("rewrites", __name__)
