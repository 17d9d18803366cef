"""Tags of what users want: brought to one form, and dialogues that between them have as many as can be (4.2.3)."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from itertools import chain, combinations

from herd.core.settings import PositiveInt, Share, settings
from herd.tokens.clusters import distinct
from herd.tokens.embeddings import embed

_ENDINGS = (("ies", "y"), ("sses", "ss"), ("ing", ""), ("ed", ""), ("s", ""))


@settings
class TagSettings:
    """min_dialogues: dialogues that must have a tag (20 in the paper, of 300,000). merge_similarity: tags whose
    embeddings are more alike than this are one; 1 merges none. support, confidence: a tag goes where at least so many
    dialogues have it with another, and so large a share of those that have it."""

    min_dialogues: PositiveInt = 1
    merge_similarity: Share = 1.0
    support: PositiveInt = 40
    confidence: Share = 0.99


def normalise_tags(tags: Sequence[Sequence[str]], settings: TagSettings) -> list[frozenset[str]]:
    """The tags of every dialogue: rare ones dropped, and those that say the same made one.

    Source: Lu et al. 2023 (InsTag), 3.2, in its order: frequency, rules, meaning, association. Differs: rules of
    association are of two tags, and meaning is measured by static embeddings.
    """
    plain = [frozenset(map(_plain, row)) - {""} for row in tags]
    often = Counter(chain.from_iterable(plain))
    frequent = {tag for tag, count in often.items() if count >= settings.min_dialogues}
    rows = [frozenset(map(_form, row & frequent)) - {""} for row in plain]
    rows = _merged(rows, _alike(rows, settings.merge_similarity))
    return _merged(rows, _implied(rows, settings.support, settings.confidence))


def _plain(tag: str) -> str:
    """Without capitals, and with single spaces."""
    return " ".join(tag.casefold().split())


def _form(tag: str) -> str:
    """Words alone, each without its ending."""
    return " ".join(_stem(word) for word in re.sub(r"[\W_]+", " ", tag).split())


def _stem(word: str) -> str:
    """Source: Porter 1980, steps 1a and 1b, the endings that English tags have."""
    for ending, instead in _ENDINGS:
        stem = word.removesuffix(ending)
        if stem != word and len(stem) >= 3 and not (ending == "s" and stem[-1] in "su"):
            doubled = ending in ("ing", "ed") and stem[-1] == stem[-2] and stem[-1] not in "lsz"
            return (stem[:-1] if doubled else stem + instead).removesuffix("e")
    return word.removesuffix("e") if len(word) > 4 else word


def _alike(rows: Sequence[frozenset[str]], similar: float) -> dict[str, str]:
    """By each tag that means what a more frequent one means, that one."""
    often = Counter(chain.from_iterable(rows))
    names = sorted(often, key=lambda tag: (-often[tag], tag))
    if similar >= 1 or not names:
        return {}
    like = distinct(embed(names), similar).duplicate_of
    return {name: names[index] for name, index in zip(names, like.tolist(), strict=True) if index >= 0}


def _implied(rows: Sequence[frozenset[str]], support: int, confidence: float) -> dict[str, str]:
    """By each tag that another one always comes with, that one; of two that imply each other the more frequent."""
    often = Counter(chain.from_iterable(rows))
    pair_counts = Counter(chain.from_iterable(combinations(sorted(row), 2) for row in rows))
    implied: dict[str, str] = {}
    for (first, second), count in sorted(pair_counts.items(), key=lambda entry: (-entry[1], entry[0])):
        rarer, more = sorted((first, second), key=lambda tag: (often[tag], tag))
        if count >= support and count >= confidence * often[rarer] and rarer not in implied:
            implied[rarer] = more
    return implied


def _merged(rows: Sequence[frozenset[str]], instead: dict[str, str]) -> list[frozenset[str]]:
    def last(tag: str) -> str:
        while tag in instead:
            tag = instead[tag]
        return tag

    return [frozenset(map(last, row)) for row in rows]


def diverse(tags: Sequence[frozenset[str]], budget: int) -> list[int]:
    """Which rows are taken, in the order of their taking: from the one with most tags on, each that has a tag not yet
    covered in this sweep; sweeps begin anew until there are `budget` or none is left. Rows without tags come last.

    Source: Lu et al. 2023 (InsTag), algorithm 1 (complexity-first diverse sampling).
    """
    remaining = sorted(range(len(tags)), key=lambda row: -len(tags[row]))
    order: list[int] = []
    while remaining and len(order) < budget:
        covered: set[str] = set()
        sweep = []
        for row in remaining:
            if len(order) + len(sweep) < budget and tags[row] - covered:
                sweep.append(row)
                covered |= tags[row]
        sweep = sweep or remaining[: budget - len(order)]
        order += sweep
        swept = set(sweep)
        remaining = [row for row in remaining if row not in swept]
    return order
