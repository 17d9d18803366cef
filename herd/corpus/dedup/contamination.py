"""Documents that hold items of evaluation sets."""

from __future__ import annotations

from functools import partial
from typing import Any, Literal

import numpy as np
import pyarrow as arrow
from numpy.typing import NDArray

from herd.core.settings import InputFile, Positive, Share, input_path
from herd.corpus.contamination import Items, Match, find, read_items
from herd.corpus.dedup import dedups
from herd.corpus.kernels import pack
from herd.corpus.parts import Changed, Dropped, Job, Outcome, Parts, Rows, alive_texts, rewrite
from herd.corpus.results import Count

_SHOWN = 50
_AROUND = 80  # bytes shown on each side of a passage
_FIELDS = ("question", "prompt", "problem", "text", "query", "input", "answer")


@dedups.add
def decontaminate(
    parts: Parts,
    *,
    against: tuple[InputFile, ...],
    fields: tuple[str, ...] = _FIELDS,
    words: Positive = 13,
    item_share: Share = 0.5,
    action: Literal["drop", "cut", "report"] = "drop",
) -> Outcome:
    """Drops documents that hold a good part of an evaluation item, or cuts the item out of them.

    A document is touched when passages it shares with one item, of `words` words or more, hold at least
    `item_share` of the item's words: a shared phrase alone is no contamination, and removing all of those was
    found to remove mostly false positives. The samples show the passages with what stands round them, how
    many documents share a phrase only, and the share of the former among all, which is the precision a rule
    that drops at the first shared run would have had by this measure.
    Source: Brown et al. 2020, app. C (13 words); Llama 3, 5.1.4 (share of an item that is covered).
    """
    texts, names = read_items([str(input_path(file)) for file in against], fields)
    items = Items.of(texts, names, words)
    found = parts.map(partial(_matched, items=items, item_share=item_share), "decontaminate")
    rows = np.concatenate([np.array(one[0], np.int64) for one in found])
    phrases = sum(one[1] for one in found)
    shown = [row for one in found for row in one[2]][:_SHOWN]
    share = np.concatenate([one[3] for one in found]) if found else np.empty(0)
    counts: dict[str, Count] = {
        "items": len(texts),
        "items too short": int((items.counts == 0).sum()),
        "documents with an item": len(rows),
        "documents with a phrase only": phrases,
        "precision of any shared run": round(len(rows) / max(1, len(rows) + phrases), 3),
        "mean share of the item": round(float(share.mean()), 3) if len(share) else 0.0,
    }
    if action == "report" or not len(rows):
        return Outcome([], counts, shown)
    if action == "drop":
        return Outcome([Dropped(rows, "holds an item of an evaluation set")], counts, shown)
    empty, _ = parts.rewrite(partial(_cut, items=items, item_share=item_share), "decontaminate.cut")
    return Outcome([Dropped(empty, "nothing but items of an evaluation set")], counts, shown)


def _held(matches: list[Match], items: Items) -> dict[int, float]:
    """Of each item that a document shares passages with, the share of its words that they hold."""
    words: dict[int, int] = {}
    for one in matches:
        words[one.item] = words.get(one.item, 0) + one.words
    return {item: min(1.0, count / max(1, int(items.counts[item]) + items.words - 1)) for item, count in words.items()}


def _by_text(texts: arrow.Array, items: Items) -> dict[int, list[Match]]:
    grouped: dict[int, list[Match]] = {}
    for match in find(pack(texts), items):
        grouped.setdefault(match.text, []).append(match)
    return grouped


def _matched(
    job: Job, *, items: Items, item_share: float
) -> tuple[list[int], int, list[dict[str, Any]], NDArray[np.float64]]:
    """Documents with an item, how many have a phrase only, passages to look at, and shares of items held."""
    rows: list[int] = []
    shown: list[dict[str, Any]] = []
    shares: list[float] = []
    phrases = 0
    for numbers, texts in alive_texts(job):
        for at, matches in sorted(_by_text(texts, items).items()):
            text = texts[at].as_py().encode()
            best, share = max(_held(matches, items).items(), key=lambda pair: pair[1])
            if share < item_share:
                phrases += 1
                continue
            rows.append(int(numbers[at]))
            shares.append(share)
            if len(shown) < _SHOWN:
                one = next(match for match in matches if match.item == best)
                before, after = text[max(0, one.begin - _AROUND) : one.begin], text[one.end : one.end + _AROUND]
                around = {"before": before, "passage": text[one.begin : one.end], "after": after}
                shown.append(
                    {"item": items.names[best], "share": round(share, 3)}
                    | {name: part.decode("utf-8", "ignore") for name, part in around.items()}
                )
    return rows, phrases, shown, np.array(shares)


def _cut(job: Job, *, items: Items, item_share: float) -> tuple[Changed, None]:
    """The part without the passages that hold an item."""

    def change(_: Rows, texts: arrow.Array) -> arrow.Array:
        found = _by_text(texts, items)
        changed = []
        for at, value in enumerate(texts.to_pylist()):
            text = value.encode()
            held = _held(found.get(at, []), items)
            for one in reversed(found.get(at, [])):
                if held[one.item] >= item_share:
                    text = text[: one.begin] + text[one.end :]
            changed.append(text.decode("utf-8", "ignore"))
        return arrow.array(changed, arrow.large_string())

    return rewrite(job, change), None
