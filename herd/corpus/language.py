"""Which language a text is in."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

# More does not change what is recognised, and costs.
READ_CHARACTERS = 2_000


@dataclass(frozen=True)
class Languages:
    """What language each text is in: ISO 639-1 codes, `und` where none was recognised, and how sure that is, 0 to 1."""

    codes: NDArray[np.str_]
    scores: NDArray[np.float64]


def detect_languages(texts: Iterable[str]) -> Languages:
    """The ISO 639-1 code of the language most of each text is in, and how sure that is, 0 to 1."""
    detect = _detector()
    detections = [detect(text[:READ_CHARACTERS]) for text in texts]
    codes = np.array([detection.language or "und" for detection in detections], dtype=np.str_)
    scores = np.array([detection.scores.get(detection.language, 0.0) for detection in detections], np.float64)
    return Languages(codes, scores)


@cache
def _detector() -> Any:
    import eldc

    eldc.init()
    eldc.set_scores(1)
    return eldc.detect_details
