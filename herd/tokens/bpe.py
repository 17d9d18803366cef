"""Learns which pairs of bytes to merge."""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from tokenizers import AddedToken, Regex, decoders, models, pre_tokenizers, processors
from tokenizers import Tokenizer as Backend

from herd.tokens.tokenizer import CONTROL_TOKENS, PATTERN, TextTokenizer
from herd.tokens.words import count_texts

Ids = NDArray[np.integer]
_WORDS_AT_ONCE = 100_000  # that a merge is made in
_HALF = 32  # bits of one id of a pair


def train_bpe(texts: Iterable[str], *, vocab_size: int, digits_together: bool) -> TextTokenizer:
    """A tokenizer whose `vocab_size` base tokens (256 bytes among them) are merged from `texts`, whose words are
    counted in memory.

    digits_together: whether up to three digits may become one token, as in Llama 3; without it no merge
    ever joins digits, which small models need to do sums, and the splitting of text stays the same.
    Source: Sennrich et al. 2016; Llama 3, 3.2.
    """
    return train_bpe_from_counts(count_texts(texts, digits_together=digits_together), vocab_size=vocab_size)


def train_bpe_from_counts(counts: Mapping[str, int], *, vocab_size: int) -> TextTokenizer:
    """A tokenizer of `vocab_size` base tokens, merged from words that come so often. The same as the library's trainer
    makes, which wants to read every text instead."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    number = {letter: id_ for id_, letter in enumerate(alphabet)}
    words = Words.of(_letter_ids(counts, number), counts.values())
    model = learn_merges(words, alphabet, vocab_size)
    merges = [(model.tokens[first], model.tokens[second]) for first, second in model.merges]
    return llama3_tokenizer(Backend(models.BPE({token: id_ for id_, token in enumerate(model.tokens)}, merges)))


def _letter_ids(words: Iterable[str], number: Mapping[str, int]) -> Iterator[list[int]]:
    for word in words:
        yield [number[letter] for letter in word]


@dataclass
class Words:
    """Words as ids, all in a row. ids: [S]. starts, lengths: of each word in `ids`, [W]; a word grows shorter as its
    ids are merged, and what it no longer needs stays behind it. counts: how often it comes, [W]."""

    ids: NDArray[np.int32]
    starts: Ids
    lengths: NDArray[np.int32]
    counts: Ids

    @classmethod
    def of(cls, words: Iterable[Sequence[int]], counts: Iterable[int]) -> Words:
        lengths: list[int] = []

        def ids() -> Iterator[int]:
            for word in words:
                lengths.append(len(word))
                yield from word

        flat = np.fromiter(ids(), np.int32)
        sizes = np.array(lengths, np.int32)
        return cls(flat, np.cumsum(sizes, dtype=np.int64) - sizes, sizes, np.fromiter(counts, np.int64))

    def places(self, word_ids: Ids) -> tuple[Ids, Ids]:
        """Where the ids of these words stand, word after word, and which of `word_ids` each belongs to."""
        lengths = self.lengths[word_ids].astype(np.int64)
        ends = np.cumsum(lengths)
        owner = np.repeat(np.arange(len(word_ids)), lengths)
        return np.arange(len(owner)) + (self.starts[word_ids] - (ends - lengths))[owner], owner

    def blocks(self, word_ids: Ids) -> Iterator[Ids]:
        for start in range(0, len(word_ids), _WORDS_AT_ONCE):
            yield word_ids[start : start + _WORDS_AT_ONCE]


@dataclass
class BPEModel:
    """What was learnt. tokens: all of them, by id. merges: which two ids become one, in order."""

    tokens: list[str]
    merges: list[tuple[int, int]]


def learn_merges(words: Words, alphabet: Sequence[str], vocab_size: int, *, repeat: bool = True) -> BPEModel:
    """Merges until there are `vocab_size` tokens: each time of the pair that comes most often, of equals that of lower
    ids.

    words: changed. repeat: whether a pair whose letters are a token already is merged into that token, as the library
    does; otherwise it is passed over. Source: Sennrich et al. 2016, algorithm 1; the order of equals is tokenizers'.
    """
    model = BPEModel(list(alphabet), [])
    number = {token: id_ for id_, token in enumerate(model.tokens)}
    counts, where = _pairs(words)
    # Of each pair the words that it came to stand in since it was last put here.
    heap = [(-counts[pair], pair, turn, word_ids) for turn, (pair, word_ids) in enumerate(where)]
    del where
    heapq.heapify(heap)
    turn = len(heap)
    while heap and len(model.tokens) < vocab_size:
        count, pair, entry, word_ids = heapq.heappop(heap)
        if -count != counts[pair]:  # counted again since
            heapq.heappush(heap, (-counts[pair], pair, entry, word_ids))
            continue
        if count == 0:
            break
        first, second = pair >> _HALF, pair & ((1 << _HALF) - 1)
        token = model.tokens[first] + model.tokens[second]
        if token in number and not repeat:
            counts[pair] = 0
            continue
        new = number.setdefault(token, len(model.tokens))
        if new == len(model.tokens):
            model.tokens.append(token)
        model.merges.append((first, second))
        for new_pair, new_word_ids in _merge(words, word_ids, first, second, new, counts):
            if counts[new_pair] > 0:
                heapq.heappush(heap, (-counts[new_pair], new_pair, turn, new_word_ids))
                turn += 1
    return model


def _pairs(words: Words) -> tuple[dict[int, int], list[tuple[int, NDArray[np.int32]]]]:
    """How often each pair of neighbours comes, and the words it is in."""
    counts: dict[int, int] = {}
    where: dict[int, list[NDArray[np.int32]]] = {}
    for block in words.blocks(np.arange(len(words.starts))):
        places, owner = words.places(block)
        inside = np.flatnonzero(owner[:-1] == owner[1:])
        ids = words.ids[places]
        key, owner = _pair(ids[inside], ids[inside + 1]), block[owner[inside]].astype(np.int32)
        _add(counts, key, words.counts[owner])
        for pair, word_ids in _grouped(key, owner):
            where.setdefault(pair, []).append(word_ids)
    return counts, [(pair, np.concatenate(where.pop(pair))) for pair in list(where)]


def _pair(first: NDArray[np.integer] | int, second: NDArray[np.integer] | int) -> Ids:
    return (np.asarray(first, np.int64) << _HALF) | np.asarray(second, np.int64)


def _add(counts: dict[int, int], keys: Ids, amounts: Ids) -> None:
    unique, place = np.unique(keys, return_inverse=True)
    sums = np.zeros(len(unique), np.int64)
    np.add.at(sums, place, amounts)
    for key, amount in zip(unique.tolist(), sums.tolist(), strict=True):
        counts[key] = counts.get(key, 0) + amount


def _grouped(keys: Ids, owners: NDArray[np.int32]) -> list[tuple[int, NDArray[np.int32]]]:
    """For each key its owners, each once."""
    order = np.lexsort((owners, keys))
    keys, owners = keys[order], owners[order]
    if not len(keys):
        return []
    again = np.append(False, (keys[1:] == keys[:-1]) & (owners[1:] == owners[:-1]))
    keys, owners = keys[~again], owners[~again]
    first = np.flatnonzero(np.append(True, keys[1:] != keys[:-1]))
    return list(zip(keys[first].tolist(), np.split(owners, first[1:]), strict=True))


def _merge(
    words: Words, word_ids: Ids, first: int, second: int, new: int, counts: dict[int, int]
) -> list[tuple[int, NDArray[np.int32]]]:
    """Joins a pair in these words and counts their pairs anew; the pairs that came up, and in which words."""
    keys: list[Ids] = [np.empty(0, np.int64)]
    owners: list[NDArray[np.int32]] = [np.empty(0, np.int32)]
    for block in words.blocks(word_ids):
        places, owner = words.places(block)
        ids = words.ids[places]
        at = _where(ids, owner, first, second)
        if not len(at):
            continue
        removed = np.zeros(len(ids) + 1, np.bool_)
        removed[at + 1] = True
        amount = words.counts[block]
        before = at[(at > 0) & (owner[at - 1] == owner[at])]
        after = at[np.append(owner, -1)[at + 2] == owner[at]]
        previous, following = np.where(removed[before - 1], new, ids[before - 1]), ids[after + 2]
        lost = np.concatenate((_pair(previous, first), _pair(second, following)))
        fresh = np.concatenate((_pair(previous, new), _pair(new, following)))
        touched = owner[np.concatenate((before, after))]
        _add(counts, np.concatenate((lost, fresh)), np.concatenate((-amount[touched], amount[touched])))
        keys.append(fresh)
        owners.append(block[touched].astype(np.int32))
        ids[at] = new
        stay = ~removed[:-1]
        lengths = np.bincount(owner[stay], minlength=len(block))
        words.lengths[block] = lengths
        words.ids[words.places(block)[0]] = ids[stay]
    return _grouped(np.concatenate(keys), np.concatenate(owners))


def _where(ids: NDArray[np.int32], owner: Ids, first: int, second: int) -> Ids:
    """Where the pair begins, in each word from the left; of `aaa` the second `aa` is none."""
    at = np.flatnonzero((ids[:-1] == first) & (ids[1:] == second) & (owner[:-1] == owner[1:]))
    if first != second or not len(at):
        return at
    run = np.flatnonzero(np.append(True, np.diff(at) != 1))
    place = np.arange(len(at)) - np.repeat(run, np.diff(np.append(run, len(at))))
    return at[place % 2 == 0]


def llama3_tokenizer(backend: Backend) -> TextTokenizer:
    """Llama 3's tokenizer around a model of pairs: its splitting, its control tokens, its opening of a text."""
    split = pre_tokenizers.Split(Regex(PATTERN), "isolated")
    to_bytes = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    backend.pre_tokenizer = pre_tokenizers.Sequence([split, to_bytes])
    backend.decoder = decoders.ByteLevel()
    backend.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in CONTROL_TOKENS])
    begin = CONTROL_TOKENS[0]
    backend.post_processor = processors.Sequence(
        [
            processors.ByteLevel(trim_offsets=False),
            processors.TemplateProcessing(
                single=f"{begin} $A",
                pair=f"{begin} $A {begin} $B",
                special_tokens=[(begin, backend.token_to_id(begin))],
            ),
        ]
    )
    return TextTokenizer(backend)
