"""How much of evaluation items stands in a corpus."""

from __future__ import annotations

import ctypes
import gzip
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from herd.core.errors import DataError
from herd.corpus.kernels import KernelResult, PackedTexts, corpus_kernels, pack_texts, pointer

if TYPE_CHECKING:
    import pyarrow as arrow

Keys = NDArray[np.uint64]


@dataclass(frozen=True)
class ExampleIndex:
    """Texts of evaluation items and the n-grams they are made of. ngram_size: in words. keys: sorted and different;
    example_of: for each key an item that holds it, the first. counts: n-grams in each item."""

    names: tuple[str, ...]
    texts: tuple[str, ...]
    ngram_size: int
    keys: Keys
    example_of: NDArray[np.int64]
    counts: NDArray[np.int64]

    @classmethod
    def build(cls, texts: Sequence[str], names: Sequence[str], ngram_size: int) -> ExampleIndex:
        """Items shorter than an n-gram are held by their whole text at half that length or more, not below."""
        with KernelResult("herd_gram_keys", pack_texts(list(texts)), ctypes.c_int32(ngram_size)) as result:
            keys, ends = result.keys()
        owners = np.repeat(np.arange(len(texts)), np.diff(ends))
        unique_keys, first = np.unique(keys, return_index=True)
        return cls(tuple(names), tuple(texts), ngram_size, unique_keys, owners[first], np.diff(ends))


@dataclass(frozen=True)
class Match:
    """A passage of document `text` that an item holds too: bytes [begin, end) of the document, and its words as items
    are counted."""

    text: int
    begin: int
    end: int
    example: int
    words: int = 0


def find_matches(texts: PackedTexts, index: ExampleIndex) -> list[Match]:
    """All passages that texts share with the index: runs that overlap or touch are one passage."""
    arguments = ctypes.c_int32(index.ngram_size), pointer(index.keys), ctypes.c_int64(len(index.keys))
    with KernelResult("herd_find_grams", texts, *arguments) as result:
        rows = result.matches()
    matches: list[Match] = []
    for text, begin, end, key in rows.tolist():
        last = matches[-1] if matches else None
        if last and last.text == text and begin <= last.end:
            matches[-1] = Match(text, last.begin, max(end, last.end), last.example)
        else:
            matches.append(Match(text, begin, end, int(index.example_of[key])))
    counts = count_plain_words([texts.cut(match.text, match.begin, match.end) for match in matches])
    return [replace(match, words=count) for match, count in zip(matches, counts.tolist(), strict=True)]


def count_plain_words(texts: Sequence[str | bytes] | arrow.Array) -> NDArray[np.int64]:
    """How many words each text has, as runs of them are counted: in scripts without blanks every letter is one."""
    packed = pack_texts(texts)
    counts = np.zeros(packed.count, np.int64)
    if packed.count:
        corpus_kernels().herd_count_plain_words(packed.argument, pointer(counts))
    return counts


def coverage(index: ExampleIndex, corpus: Iterable[PackedTexts]) -> NDArray[np.float64]:
    """For each item the share of its words that lie in runs which the corpus holds at least once.

    Source: Llama 3, 5.1.4, with runs of 8 tokens; here of words, letter case, accents and punctuation aside.
    """
    seen_keys = np.zeros(len(index.keys), np.bool_)
    for texts in corpus:
        arguments = ctypes.c_int32(index.ngram_size), pointer(index.keys), ctypes.c_int64(len(index.keys))
        with KernelResult("herd_find_grams", texts, *arguments) as result:
            seen_keys[result.matches()[:, 3]] = True
    with KernelResult("herd_gram_keys", pack_texts(list(index.texts)), ctypes.c_int32(index.ngram_size)) as result:
        keys, ends = result.keys()
    hits = seen_keys[np.searchsorted(index.keys, keys)] if len(keys) else np.zeros(0, np.bool_)
    shares = np.zeros(len(index.texts))
    for number, (start, end) in enumerate(zip(ends[:-1].tolist(), ends[1:].tolist(), strict=True)):
        if end > start:
            covered = np.zeros(end - start + index.ngram_size - 1, np.bool_)
            for at in np.flatnonzero(hits[start:end]).tolist():
                covered[at : at + index.ngram_size] = True
            shares[number] = covered.mean()
    return shares


def read_eval_examples(files: Sequence[str], fields: Sequence[str]) -> tuple[list[str], list[str]]:
    """Texts and names of evaluation items: a row of JSON lines each (.gz too), its `fields` joined, or a line of
    a text file each.

    Raises DataError when a file cannot be read or no row has one of the fields.
    """
    texts: list[str] = []
    names: list[str] = []
    for file in files:
        path = Path(file).expanduser()
        try:
            data = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
        except OSError as fault:
            raise DataError(f"evaluation items: {file} cannot be read ({fault}); check the path") from None
        for number, line in enumerate(data.decode("utf-8", "replace").splitlines(), 1):
            if text := _example_text(line, fields, json_lines=".json" in path.name):
                texts.append(text)
                names.append(f"{path.name}:{number}")
    if not texts:
        raise DataError(f"evaluation items: no row of {', '.join(files)} has one of the fields {', '.join(fields)}")
    return texts, names


def _example_text(line: str, fields: Sequence[str], *, json_lines: bool) -> str:
    if not json_lines:
        return line.strip()
    try:
        row: Any = json.loads(line)
    except ValueError:
        return ""
    values = [row.get(field) for field in fields] if isinstance(row, dict) else []
    return "\n".join(value for value in values if isinstance(value, str)).strip()
