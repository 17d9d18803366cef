"""How much of each item of a benchmark stands in a corpus: the items' n-grams are hashed, and the corpus is read once.

Source: Llama 3, 5.1.4, after Singh et al. 2024 (Evaluation data contamination in LLMs): the share of an item's tokens
that lie in any 8-gram of the corpus.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain

import numpy as np

from herd.core.errors import SettingsError

NGRAM = 8
# Of items, from which on an n-gram is the benchmark's own wording: instructions, and examples shown before each item.
SHARED_SHARE, SHARED_ITEMS = 0.05, 3
_BATCH_WORDS = 200_000
_MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)
# Letters of scripts without spaces are words of their own.
_WORD = re.compile(
    "[\u0e00-\u0e7f\u0e80-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff]"
    "|[^\\W_\u0e00-\u0e7f\u0e80-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff]+"
)

Split = Callable[[str], Sequence[str]]


def ngram_words(text: str) -> list[str]:
    """The words of a text in small letters, without punctuation; of scripts without spaces, their characters."""
    return _WORD.findall(text.lower())


@dataclass(frozen=True)
class Coverage:
    """Of every item, in order, the share of its tokens that the corpus holds in n-grams; None for an item that has no
    n-gram of its own, of which nothing can be told. runs: of every item, the most covered tokens in a row."""

    shares: tuple[float | None, ...]
    runs: tuple[int, ...]
    documents: int = 0
    words: int = 0


class ItemNgrams:
    """The n-grams of items, to be looked for.

    split: gives the tokens of a text. What many items have in common is no part of any of them: tokens that lie only in
    n-grams of at least 5 % of the items (and 3) count neither as covered nor as the item's. Raises SettingsError for
    n-grams of no token.
    """

    def __init__(self, items: Sequence[str], *, ngram: int = NGRAM, split: Split = ngram_words) -> None:
        if ngram < 1:
            raise SettingsError(f"n-grams of {ngram} tokens cover nothing; take {NGRAM}")
        self.ngram, self.split = ngram, split
        self._vocabulary: dict[str, int] = {}
        self._items = [self._ids(split(text), grow=True) for text in items]
        grams = [list(_windows(ids, ngram)) for ids in self._items]
        counts = Counter(chain.from_iterable(set(own) for own in grams))
        most = max(SHARED_ITEMS, SHARED_SHARE * len(items))
        self._shared = frozenset(gram for gram, count in counts.items() if count >= most)
        self._grams = grams
        by_hash: defaultdict[int, set[tuple[int, ...]]] = defaultdict(set)
        for gram in counts.keys() - self._shared:
            by_hash[int(_rolling_hashes(np.asarray(gram, np.uint64), ngram)[0])].add(gram)
        self._by_hash = dict(by_hash)
        self._hashes = np.array(sorted(by_hash), np.uint64)

    def coverage(self, texts: Iterable[str]) -> Coverage:
        """Reads the corpus once; a document is looked at on its own."""
        (coverage,) = measure_coverage([self], texts)
        return coverage

    def covered_by(self, in_corpus: set[tuple[int, ...]], documents: int, words: int) -> Coverage:
        """How much of the items these n-grams cover."""
        rows = [self._covered(own, ids, in_corpus) for own, ids in zip(self._grams, self._items, strict=True)]
        return Coverage(tuple(share for share, _ in rows), tuple(run for _, run in rows), documents, words)

    def _ids(self, words: Sequence[str], *, grow: bool = False) -> list[int]:
        """Numbers of words, from 1 on; 0 for one that no item holds."""
        if grow:
            return [self._vocabulary.setdefault(word, len(self._vocabulary) + 1) for word in words]
        known = self._vocabulary.get
        return [known(word, 0) for word in words]

    def find(self, documents: Sequence[Sequence[str]]) -> set[tuple[int, ...]]:
        """The n-grams of items in the words of these documents: by hash, and then word for word."""
        numbers: list[int] = []
        for words in documents:
            numbers += self._ids(words)
            numbers.append(0)  # a gap between
        ids = np.asarray(numbers, np.uint64)
        if len(ids) < self.ngram or not len(self._hashes):
            return set()
        gaps = np.concatenate([[0], np.cumsum(ids == 0)])
        starts = np.flatnonzero(gaps[self.ngram :] == gaps[: -self.ngram])
        hashes = _rolling_hashes(ids, self.ngram)[starts]
        places = np.minimum(np.searchsorted(self._hashes, hashes), len(self._hashes) - 1)
        hits = self._hashes[places] == hashes
        rows = zip(starts[hits].tolist(), hashes[hits].tolist(), strict=True)
        grams = ((tuple(ids[start : start + self.ngram].tolist()), value) for start, value in rows)
        return {gram for gram, value in grams if gram in self._by_hash[value]}

    def _covered(
        self, grams: Sequence[tuple[int, ...]], ids: Sequence[int], in_corpus: set[tuple[int, ...]]
    ) -> tuple[float | None, int]:
        """The share of an item's own tokens that lie in an n-gram of the corpus, and the most of them in a row."""
        own, covered = np.zeros(len(ids), bool), np.zeros(len(ids), bool)
        for start, gram in enumerate(grams):
            own[start : start + self.ngram] |= gram not in self._shared
            covered[start : start + self.ngram] |= gram in in_corpus
        if not own.any():
            return None, 0
        edges = np.flatnonzero(np.diff(np.concatenate([[0], covered.astype(np.int8), [0]])))
        longest = int((edges[1::2] - edges[::2]).max(initial=0))
        return float(covered.sum() / own.sum()), longest


def measure_coverage(sets: Sequence[ItemNgrams], texts: Iterable[str]) -> list[Coverage]:
    """How much of the items of every set, such as of several tasks, a corpus holds, which is read once. All split texts
    alike."""
    in_corpus: list[set[tuple[int, ...]]] = [set() for _ in sets]
    documents = words = 0
    for batch in _batches(texts, sets[0].split if sets else ngram_words):
        documents, words = documents + len(batch), words + sum(map(len, batch))
        for own, ngrams in zip(in_corpus, sets, strict=True):
            own |= ngrams.find(batch)
    return [ngrams.covered_by(own, documents, words) for own, ngrams in zip(in_corpus, sets, strict=True)]


def _batches(texts: Iterable[str], split: Split) -> Iterator[list[Sequence[str]]]:
    """The words of several documents at a time."""
    batch: list[Sequence[str]] = []
    size = 0
    for text in texts:
        batch.append(split(text))
        size += len(batch[-1])
        if size >= _BATCH_WORDS:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def _windows(ids: Sequence[int], ngram: int) -> Iterator[tuple[int, ...]]:
    return (tuple(ids[start : start + ngram]) for start in range(len(ids) - ngram + 1))


def _rolling_hashes(ids: np.ndarray, ngram: int) -> np.ndarray:
    """Of every n-gram, 64 bits: a polynomial in an odd number, modulo 2 to the 64th."""
    count = len(ids) - ngram + 1
    hashes = np.zeros(count, np.uint64)
    for place in range(ngram):
        hashes = hashes * _MULTIPLIER + ids[place : place + count]
    return hashes ^ (hashes >> np.uint64(29))


# ---- does it find what was put there ----


@dataclass(frozen=True)
class RecoveryCheck:
    """Of items put into documents of the corpus on purpose, how many were found, and how many others were said to be
    there. precision, recall: None where nothing was found, or nothing planted."""

    planted: int
    found: int
    others: int

    @property
    def precision(self) -> float | None:
        return self.found / (self.found + self.others) if self.found + self.others else None

    @property
    def recall(self) -> float | None:
        return self.found / self.planted if self.planted else None


def check_recovery(
    items: Sequence[str], hosts: Sequence[str], *, threshold: float, count: int = 50,
    ngram: int = NGRAM, split: Split = ngram_words, seed: int = 0,
) -> RecoveryCheck:  # fmt: skip
    """Plants `count` items in copies of documents, in capitals and broken into lines anew, and looks for all items.

    hosts: documents of the corpus. Items that these hold anyway, or of which nothing can be told, count in neither
    figure. An item that says the same as a planted one counts as another.
    """
    ngrams = ItemNgrams(items, ngram=ngram, split=split)
    before = ngrams.coverage(hosts).shares
    clean = [place for place, share in enumerate(before) if share is not None and share < threshold]
    rng = np.random.default_rng(seed)
    planted: set[int] = set()
    if clean:
        planted = set(map(int, rng.choice(clean, min(count, (len(clean) + 1) // 2), replace=False)))
    documents = []
    for number, place in enumerate(sorted(planted)):
        host = hosts[number % len(hosts)] if hosts else ""
        middle = len(host) // 2
        documents.append(f"{host[:middle]}\n{items[place].upper().replace(' ', chr(10))}\n{host[middle:]}")
    after = ngrams.coverage([*hosts, *documents]).shares
    flagged = {place for place in clean if (after[place] or 0.0) >= threshold}
    return RecoveryCheck(len(planted), len(flagged & planted), len(flagged - planted))
