"""More pairs on top of a vocabulary that is there already, as Llama 3 extended cl100k with 28,000 of its own (3.2)."""

from __future__ import annotations

import heapq
import itertools
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence

from tokenizers import Regex, pre_tokenizers

from herd.tokens.foreign import from_ranks
from herd.tokens.tokenizer import PATTERN, TextTokenizer

Word = list[int]
Pair = tuple[int, int]


def extend(ranks: Sequence[bytes], texts: Iterable[str], *, extra: int) -> TextTokenizer:
    """A tokenizer with the pairs of `ranks` first and then up to `extra` more, learnt from `texts`.

    The new pairs merge only what the old ones leave apart, so a text in which none of them occurs keeps its ids.
    Source: Llama 3, 3.2 (the vocabulary); Sennrich et al. 2016 (the learning).
    """
    base = from_ranks(ranks)
    counts = _words(texts)
    words = [base.encode(word) for word in counts]
    found = learn_pairs(words, list(counts.values()), list(ranks), extra=extra)
    return from_ranks([*ranks, *found])


def learn_pairs(words: list[Word], counts: Sequence[int], known: list[bytes], *, extra: int) -> list[bytes]:
    """The bytes of up to `extra` new pairs: each time the one that occurs most often in the words, counted.

    words: ids into `known`; they are changed. Among equals the pair of lower ids goes first.
    """
    total: Counter[Pair] = Counter()
    where: defaultdict[Pair, set[int]] = defaultdict(set)
    for number, word in enumerate(words):
        for pair in itertools.pairwise(word):
            total[pair] += counts[number]
            where[pair].add(number)
    heap = [(-count, pair) for pair, count in total.items()]
    heapq.heapify(heap)
    seen, made = set(known), []
    texts = list(known)
    while heap and len(made) < extra:
        count, pair = heapq.heappop(heap)
        if -count != total[pair] or count == 0:  # counted again since
            continue
        text = texts[pair[0]] + texts[pair[1]]
        if text in seen:  # the same bytes by another way: no new token
            total[pair] = 0
            continue
        seen.add(text)
        made.append(text)
        texts.append(text)
        changed = _merge(pair, len(texts) - 1, words, counts, total, where)
        for touched in changed:
            if total[touched] > 0:
                heapq.heappush(heap, (-total[touched], touched))
    return made


def _merge(
    pair: Pair,
    new: int,
    words: list[Word],
    counts: Sequence[int],
    total: Counter[Pair],
    where: defaultdict[Pair, set[int]],
) -> set[Pair]:
    """Joins `pair` in every word it is in; the pairs whose counts changed."""
    changed: set[Pair] = set()
    for number in sorted(where.pop(pair)):
        before = words[number]
        after = _joined(before, pair, new)
        for old in itertools.pairwise(before):
            total[old] -= counts[number]
            changed.add(old)
        for fresh in itertools.pairwise(after):
            total[fresh] += counts[number]
            where[fresh].add(number)
            changed.add(fresh)
        words[number] = after
    return changed - {pair}


def _joined(word: Word, pair: Pair, new: int) -> Word:
    out, at = [], 0
    while at < len(word):
        if at + 1 < len(word) and (word[at], word[at + 1]) == pair:
            out.append(new)
            at += 2
        else:
            out.append(word[at])
            at += 1
    return out


def _words(texts: Iterable[str]) -> Counter[str]:
    """How often each word comes, words as Llama 3's pattern cuts them."""
    split = pre_tokenizers.Split(Regex(PATTERN), "isolated")
    counts: Counter[str] = Counter()
    for text in texts:
        counts.update(word for word, _ in split.pre_tokenize_str(text))
    return counts
