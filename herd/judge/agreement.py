"""How far two judges agree."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def weighted_kappa(first: NDArray[np.float64], second: NDArray[np.float64], highest: int) -> float:
    """Agreement beyond chance of two raters on 0..highest: 1 for equal, 0 for chance. Pairs with NaN are left out."""
    valid = ~(np.isnan(first) | np.isnan(second))
    a, b = first[valid].astype(int), second[valid].astype(int)
    if not len(a):
        return float("nan")
    observed = np.zeros((highest + 1, highest + 1))
    np.add.at(observed, (a, b), 1)
    expected = np.outer(observed.sum(axis=1), observed.sum(axis=0)) / len(a)
    weights = (np.arange(highest + 1)[:, None] - np.arange(highest + 1)[None, :]) ** 2
    chance = float((weights * expected).sum())
    return 1.0 - float((weights * observed).sum()) / chance if chance else 1.0
