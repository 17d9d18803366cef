"""The interface of the compiled kernels in Python: the same names, the same arguments by way of ctypes."""

from __future__ import annotations

import ctypes
import itertools
import operator
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from herd.corpus.plain import bloom, html, lines, measure, minhash, private, repeats
from herd.corpus.plain.extract import extract
from herd.corpus.plain.text import utf8_prefix

Address = ctypes.c_void_p
Number = ctypes.c_int32 | ctypes.c_int64


@dataclass
class _Result:
    """Up to three columns of text and four of numbers."""

    texts: list[list[bytes]] = field(default_factory=list)
    numbers: list[list[int]] = field(default_factory=list)
    keys: list[int] = field(default_factory=list)
    ends: list[int] = field(default_factory=lambda: [0])
    matches: list[tuple[int, int, int, int]] = field(default_factory=list)
    lent: list[NDArray[Any]] = field(default_factory=list)  # what somebody was given an address of

    def add_keys(self, keys: Iterable[int]) -> None:
        self.keys.extend(keys)
        self.ends.append(len(self.keys))

    def lend(self, numbers: Any, kind: Any) -> int:
        array = np.array(numbers, kind)
        self.lent.append(array)
        return array.ctypes.data


def _columns(extracts: list[Any], *names: str) -> list[list[Any]]:
    """Of each attribute its values in all extracts."""
    return [list(map(operator.attrgetter(name), extracts)) for name in names]


def _texts(argument: Any) -> list[bytes]:
    """The texts that `pack_texts` packed."""
    packed = argument._obj
    ends = _view(packed.offsets, packed.count + 1, np.int64).tolist()
    return [ctypes.string_at(packed.data + begin, end - begin) for begin, end in itertools.pairwise(ends)]


def _view(address: Any, count: int, kind: Any) -> NDArray[Any]:
    """Numbers that somebody else owns, to read and to fill."""
    place = address.value if isinstance(address, ctypes.c_void_p) else address
    if not place or not count:
        return np.empty(0, kind)
    size = count * np.dtype(kind).itemsize
    return np.frombuffer((ctypes.c_char * size).from_address(place), kind)  # pyright: ignore


def _places(keys: Any, count: Number) -> dict[int, int]:
    """Where each of these sorted keys stands."""
    sorted_keys = _view(keys, count.value, np.uint64).tolist()
    return {key: place for place, key in reversed(list(enumerate(sorted_keys)))}


class Kernels:
    """Stands where the compiled library would. Raises nothing of its own."""

    def __init__(self) -> None:
        self._results: dict[int, Any] = {}
        self._next = itertools.count(1)

    def _store(self, result: Any) -> int:
        number = next(self._next)
        self._results[number] = result
        return number

    # ---- results ----

    def herd_result_text(self, result: Address, column: int, offsets: Any) -> int:
        stored = self._results[result.value or 0]
        ends = np.cumsum([0, *(len(text) for text in stored.texts[column])])
        offsets._obj.value = stored.lend(ends, np.int64)
        return stored.lend(np.frombuffer(b"".join(stored.texts[column]) or b"\0", np.uint8), np.uint8)

    def herd_result_numbers(self, result: Address, column: int) -> int:
        stored = self._results[result.value or 0]
        return stored.lend(stored.numbers[column], np.int32)

    def herd_result_keys(self, result: Address, ends: Any, count: Any) -> int:
        stored = self._results[result.value or 0]
        ends._obj.value, count._obj.value = stored.lend(stored.ends, np.int64), len(stored.keys)
        return stored.lend(stored.keys, np.uint64)

    def herd_result_matches(self, result: Address, count: Any) -> int:
        stored = self._results[result.value or 0]
        count._obj.value = len(stored.matches)
        return stored.lend(stored.matches, np.int64)

    def herd_result_free(self, result: Address) -> None:
        del self._results[result.value or 0]

    # ---- tables, given once ----

    def herd_set_entities(self, names: Any, values: Any) -> None:
        html.ENTITIES.clear()
        html.ENTITIES.update(zip(_texts(names), _texts(values), strict=True))

    def herd_set_runes(self, *tables: Any) -> None:
        """Nothing: `words` and `minhash` have the tables of `characters` as they are."""

    def herd_set_stop_words(self, words: Any, ends: Any, languages: Number) -> None:
        texts, bounds = _texts(words), _view(ends, languages.value, np.int32).tolist()
        measure.set_stop_words([texts[begin:end] for begin, end in itertools.pairwise([0, *bounds])])

    def herd_set_dirty_words(self, phrases: Any) -> None:
        measure.set_dirty_words(_texts(phrases))

    # ---- pages and texts ----

    def herd_utf8_fault(self, data: bytes, length: Number) -> int:
        good = utf8_prefix(data[: length.value])
        return -1 if good == length.value else good

    def herd_extract(self, pages: Any, options: Any) -> int:
        extracts = [extract(page, options._obj) for page in _texts(pages)]
        texts = _columns(extracts, "text", "title", "language")
        counts = _columns(extracts, "outcome", "code_letters", "formulas", "letters")
        return self._store(_Result(texts, counts))

    def herd_measure(self, texts: Any, languages: Any, values: Any) -> None:
        all_texts = _texts(texts)
        into = _view(values, len(all_texts) * len(measure.STATS), np.float64).reshape(
            len(all_texts), len(measure.STATS)
        )
        for number, language in enumerate(_view(languages, len(all_texts), np.int32).tolist()):
            into[number] = measure.measure_text(all_texts[number], language)

    def herd_clean_lines(self, texts: Any, rules: Any, edits: Any) -> int:
        cleaned, counts = lines.clean_lines(_texts(texts), rules._obj)
        _view(edits, len(cleaned) * len(lines.EDITS), np.float64)[:] = np.array(counts, np.float64).ravel()
        return self._store(_Result([cleaned]))

    def herd_mask_private(self, texts: Any, masks: Any, counts: Any) -> int:
        masked, kind_counts = private.mask_private(_texts(texts), list(masks._obj.by))
        _view(counts, len(masked) * private.KIND_COUNT, np.int32)[:] = np.array(kind_counts, np.int32).ravel()
        return self._store(_Result([masked]))

    # ---- what texts share ----

    def herd_minhash(self, texts: Any, rules: Any, keys: Any, signature: Any) -> None:
        all_texts, settings = _texts(texts), rules._obj
        size = settings.bands * settings.rows
        into = _view(keys, len(all_texts) * settings.bands, np.uint64).reshape(len(all_texts), settings.bands)
        minima = _view(signature, len(all_texts) * size, np.uint32).reshape(-1, size) if signature else None
        minhash.minhash(all_texts, settings, into, minima)

    def herd_shingles(self, texts: Any, words: Number, fold_numbers: Number) -> int:
        result = _Result()
        for text in _texts(texts):
            result.add_keys(minhash.shingles(text, words.value, bool(fold_numbers.value)))
        return self._store(result)

    def herd_line_keys(self, texts: Any) -> int:
        result = _Result()
        for text in _texts(texts):
            result.add_keys(repeats.line_keys(text))
        return self._store(result)

    def herd_drop_lines(self, texts: Any, keys: Any, count: Number, dropped: Any) -> int:
        places = _places(keys, count)
        results = [repeats.drop_lines(text, places) for text in _texts(texts)]
        _view(dropped, len(results), np.int32)[:] = [lines_dropped for _, lines_dropped in results]
        return self._store(_Result([[text for text, _ in results]]))

    def herd_window_keys(self, texts: Any, length: Number) -> int:
        result = _Result()
        for text in _texts(texts):
            result.add_keys(repeats.window_keys(text, length.value))
        return self._store(result)

    def herd_cut_repeats(
        self, texts: Any, length: Number, keys: Any, first: Any, count: Number, start: Number, words_cut: Any
    ) -> int:
        places, at, remaining, cuts = _places(keys, count), start.value, [], []
        stays = _view(first, count.value, np.int64) if first else None
        for text in _texts(texts):
            shorter, cut, windows = repeats.cut_repeats(text, length.value, places, stays, at)
            at += windows
            remaining.append(shorter)
            cuts.append(cut)
        _view(words_cut, len(remaining), np.int32)[:] = cuts
        return self._store(_Result([remaining]))

    def herd_gram_keys(self, texts: Any, words: Number) -> int:
        result = _Result()
        for text in _texts(texts):
            result.add_keys(key for key, _, _ in repeats.grams(text, words.value))
        return self._store(result)

    def herd_count_plain_words(self, texts: Any, counts: Any) -> None:
        all_texts = _texts(texts)
        _view(counts, len(all_texts), np.int64)[:] = [len(repeats.plain_words(text)) for text in all_texts]

    def herd_find_grams(self, texts: Any, words: Number, keys: Any, count: Number) -> int:
        places, result = _places(keys, count), _Result()
        for number, text in enumerate(_texts(texts)):
            for key, begin, end in repeats.grams(text, words.value):
                if (place := places.get(key)) is not None:
                    result.matches.append((number, begin, end, place))
        return self._store(result)

    # ---- block lists ----

    def herd_block_list(self, lists: Any) -> int:
        return self._store(frozenset[int]().union(*map(repeats.list_keys, _texts(lists))))

    def herd_match_addresses(self, urls: Any, domains: Address, addresses: Address, out: Any) -> None:
        all_texts = _texts(urls)
        below, alone = self._results[domains.value or 0], self._results[addresses.value or 0]
        _view(out, len(all_texts), np.int32)[:] = [
            1 if below.intersection(repeats.domain_keys(url)) else 2 * (repeats.address_key(url) in alone)
            for url in all_texts
        ]

    # ---- words and keys of a whole corpus ----

    def herd_count_unigrams(self, texts: Any, bits: Number, counts: Any) -> None:
        repeats.count_unigrams(_texts(texts), bits.value, _view(counts, 1 << bits.value, np.int64))

    def herd_divergence(self, texts: Any, bits: Number, counts: Any, out: Any, words: Any) -> None:
        all_texts = _texts(texts)
        divergences, lengths = repeats.divergence(all_texts, bits.value, _view(counts, 1 << bits.value, np.int64))
        _view(out, len(all_texts), np.float64)[:] = divergences
        _view(words, len(all_texts), np.int32)[:] = lengths

    def herd_bloom_texts(self, texts: Any, rules: Any, bits: Any, counts: Any) -> int:
        settings, all_texts = rules._obj, _texts(texts)
        remaining, seen_counts = bloom.bloom_texts(all_texts, settings, _view(bits, -(-settings.bits // 64), np.uint64))
        _view(counts, 2 * len(remaining), np.int64)[:] = np.array(seen_counts, np.int64).ravel()
        return self._store(_Result([remaining]))

    def herd_bloom_add(self, keys: Any, count: Number, rules: Any, bits: Any, present: Any) -> None:
        settings, filter_bits = rules._obj, _view(bits, -(-rules._obj.bits // 64), np.uint64)
        into = _view(present, count.value, np.uint8)
        for number, key in enumerate(_view(keys, count.value, np.uint64).tolist()):
            into[number] = bloom.bloom_add(filter_bits, settings, key)

    def herd_join(self, parent: Any, first: Any, second: Any, count: Number) -> None:
        a, b = (_view(side, count.value, np.int64).tolist() for side in (first, second))
        above = _view(parent, 1 + max((*a, *b), default=-1), np.int64)

        def root(x: int) -> int:
            while above[x] != x:
                above[x] = above[above[x]]
                x = int(above[x])
            return x

        for x, y in zip(map(int, a), map(int, b), strict=True):
            left_root, right_root = root(x), root(y)
            above[max(left_root, right_root)] = min(left_root, right_root)
