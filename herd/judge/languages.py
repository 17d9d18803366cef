"""The language of an answer, as IFEval's checks tell it."""

from __future__ import annotations

from typing import Any

from herd.core.extras import ExtraPackage, import_extra

_LANGDETECT = ExtraPackage("langdetect", "benchmarks", "telling the language of an answer")


def detect_language(text: str) -> str | None:
    """The likeliest language's code, such as `en` or `zh-cn`; None for a text without letters.

    langdetect draws at random unless its seed is set, and then tells one text by four different verdicts in sixty
    tries. Source: IFEval's own test, which sets the seed to 0. Raises SettingsError where langdetect is missing.
    """
    langdetect: Any = import_extra(_LANGDETECT)
    langdetect.DetectorFactory.seed = 0
    try:
        return langdetect.detect(text)
    except langdetect.LangDetectException:
        return None
