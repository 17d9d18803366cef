"""Lines in another language than the text around them."""

from __future__ import annotations

from collections import Counter

from herd.core.settings import PositiveInt, Share
from herd.corpus.kernels import PackedTexts
from herd.corpus.language import detect_languages
from herd.corpus.rewrites import RewriteResult, rewrites


@rewrites.add
def foreign_lines(
    texts: PackedTexts, *, keep: tuple[str, ...] = (), min_characters: PositiveInt = 100, min_score: Share = 0.8
) -> RewriteResult:
    """Takes out lines in another language than the one that most of their document's long lines are in.

    keep: languages whose lines stay in any document. Shorter lines stay, and those that are recognised with a lower
    score than `min_score`.
    Source: Ortiz Suarez et al. 2019 (OSCAR), 3, who judge lines of at least 100 characters. Differs: they give
    every line to its own language's corpus.
    """
    import pyarrow as arrow

    lines = [text.split("\n") for text in texts.heads(1 << 62)]
    long_lines: list[tuple[int, int]] = []
    for k, text_lines in enumerate(lines):
        long_lines += [(k, at) for at, line in enumerate(text_lines) if len(line) >= min_characters]
    detected = detect_languages(lines[k][at] for k, at in long_lines)
    line_languages: dict[int, dict[int, str]] = {}
    for (k, at), code, score in zip(long_lines, detected.codes.tolist(), detected.scores.tolist(), strict=True):
        if score >= min_score and code != "und":
            line_languages.setdefault(k, {})[at] = code
    removed = 0
    for k, languages in line_languages.items():
        language_characters = Counter[str]()
        for at, code in languages.items():
            language_characters[code] += len(lines[k][at])
        allowed = {language_characters.most_common(1)[0][0], *keep}
        remaining = [line for at, line in enumerate(lines[k]) if languages.get(at) in (None, *allowed)]
        removed += len(lines[k]) - len(remaining)
        lines[k] = remaining
    joined = arrow.array(["\n".join(text_lines) for text_lines in lines], arrow.large_string())
    return RewriteResult(joined, metrics={"foreign lines": removed})
