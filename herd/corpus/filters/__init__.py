"""Rules that judge documents by their statistics. One function is one rule; a new file here is found."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from herd.core.registry import Registry

Drops = NDArray[np.bool_]

filters: Registry[Callable[..., Drops]] = Registry("filters", __name__)
