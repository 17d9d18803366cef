"""What tokenizers and packed corpora record."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass, field

from herd.core.results import results


@dataclass(frozen=True)
class WordsLearnt:
    """The words of a corpus that a tokenizer is learnt from. share_of_text: that these make up."""

    distinct: int
    learnt_from: int
    share_of_text: float


@dataclass(frozen=True)
class Compression:
    """How long text is in characters and in tokens."""

    characters: int
    tokens: int
    characters_per_token: float


@results.add(version=1)
@dataclass(frozen=True)
class TokenizerResult:
    """A tokenizer that was trained, or one that was there, of which nothing is measured. compression: by source and by
    language of the corpus it learnt from; compression_before: of the tokenizer that it extends, where there is one."""

    vocab_size: int
    words: WordsLearnt
    compression: Mapping[str, Compression]
    compression_before: Mapping[str, Compression] = field(default_factory=dict)


@dataclass(frozen=True)
class SplitSize:
    """How much there is of one split of a source."""

    tokens: int
    documents: int
    text_bytes: int


@results.add(version=1)
@dataclass(frozen=True)
class PackingResult:
    """A corpus as token ids. sources: by source and split (train, heldout). around_document: what stands before and
    after each. held_out_by_parts: sources whose long documents gave their ends to be held out; not_held_out: those of
    which nothing is."""

    sources: Mapping[str, Mapping[str, SplitSize]]
    around_document: tuple[str, str]
    control_tokens: int
    held_out_by_parts: tuple[str, ...] = ()
    not_held_out: tuple[str, ...] = ()

    @property
    def tokens(self) -> int:
        """Of all sources and splits."""
        sizes = itertools.chain.from_iterable(splits.values() for splits in self.sources.values())
        return sum(size.tokens for size in sizes)
