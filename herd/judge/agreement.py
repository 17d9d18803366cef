"""How far two judges agree."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def weighted_kappa(first: NDArray[np.float64], second: NDArray[np.float64], highest: int) -> float:
    """Agreement beyond chance of two raters on 0..highest: 1 for equal, 0 for chance. Pairs with NaN are left out."""
    both = ~(np.isnan(first) | np.isnan(second))
    a, b = first[both].astype(int), second[both].astype(int)
    if not len(a):
        return float("nan")
    seen = np.zeros((highest + 1, highest + 1))
    np.add.at(seen, (a, b), 1)
    expected = np.outer(seen.sum(axis=1), seen.sum(axis=0)) / len(a)
    away = (np.arange(highest + 1)[:, None] - np.arange(highest + 1)[None, :]) ** 2
    chance = float((away * expected).sum())
    return 1.0 - float((away * seen).sum()) / chance if chance else 1.0
