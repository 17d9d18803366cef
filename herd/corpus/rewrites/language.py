"""Lines in another language than the text around them."""

from __future__ import annotations

from collections import Counter

from herd.core.settings import Positive, Share
from herd.corpus.kernels import Packed
from herd.corpus.language import recognise
from herd.corpus.rewrites import Rewritten, rewrites


@rewrites.add
def foreign_lines(
    texts: Packed, *, keep: tuple[str, ...] = (), least_characters: Positive = 100, sure: Share = 0.8
) -> Rewritten:
    """Takes out lines in another language than the one that most of their document's long lines are in.

    keep: languages whose lines stay in any document. Shorter lines stay, and those that are recognised with a lower
    score than `sure`.
    Source: Ortiz Suarez et al. 2019 (OSCAR), 3, who judge lines of at least 100 characters. Differs: they give
    every line to its own language's corpus.
    """
    import pyarrow as arrow

    lines = [text.split("\n") for text in texts.heads(1 << 62)]
    long = [(k, at) for k, held in enumerate(lines) for at, line in enumerate(held) if len(line) >= least_characters]
    found = recognise(lines[k][at] for k, at in long)
    spoken: dict[int, dict[int, str]] = {}
    for (k, at), code, score in zip(long, found.codes.tolist(), found.scores.tolist(), strict=True):
        if score >= sure and code != "und":
            spoken.setdefault(k, {})[at] = code
    gone = 0
    for k, languages in spoken.items():
        said = Counter[str]()
        for at, code in languages.items():
            said[code] += len(lines[k][at])
        stay = {said.most_common(1)[0][0], *keep}
        left = [line for at, line in enumerate(lines[k]) if languages.get(at) in (None, *stay)]
        gone += len(lines[k]) - len(left)
        lines[k] = left
    whole = arrow.array(["\n".join(held) for held in lines], arrow.large_string())
    return Rewritten(whole, figures={"foreign lines": gone})
