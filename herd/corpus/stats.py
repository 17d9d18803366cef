"""One pass that measures documents, so that many rules can judge them without reading them again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Self

import numpy as np
from numpy.typing import NDArray

from herd.corpus import characters
from herd.corpus.kernels import Packed, library, pack, pointer
from herd.corpus.language import READ_CHARACTERS, Languages, recognise

if TYPE_CHECKING:
    import pyarrow as arrow

Numbers = NDArray[np.float64]
Texts = NDArray[np.str_]


@dataclass(frozen=True)
class Stats:
    """What was measured, one entry a document in every column. The kernels fill them in this order.

    characters, text_bytes: of the whole text. words: with each mark of punctuation as a word of its own;
    plain_words: without those, and plain_characters in them. alpha_words: with a letter. shouted_words: all in
    capitals. longest_word: in characters. hashes, ellipses, braces, newlines: how often. lorem: 1 where it holds
    `lorem ipsum`. all_lines, bullet_lines, ellipsis_lines: lines, blank ones too, and those that start with a
    bullet or end with an ellipsis. lines: not blank; ended_lines: with a sentence's end last; short_lines: of at most
    30 characters; long_lines: of 200 or more. split_lines, repeated_lines, repeated_line_characters: lines between
    runs of newlines, those equal to an earlier one, and what they hold; the same for paragraphs. top_2 to
    top_4: characters inside the most frequent run of so many words. repeated_5 to repeated_10: characters inside
    runs of so many words that stood before. stop_words: different ones of the document's language;
    stop_word_uses: all of them. sentences. dirty_words: words and phrases of the list given. digits, uppercase:
    characters, those of ASCII. code_lines: lines that look like program text. formulas: in TeX.
    mathematical_signs: of Unicode.

    Of the rule that took lines out, if one did: lines_in, words_in, words_out; lines taken out for each
    reason; braces_met, lorem_met: on lines it looked at; line_sentences: on lines it left.
    language: an ISO 639-1 code, `und` where none was recognised; language_score: how sure, 0 to 1.
    """

    characters: Numbers
    text_bytes: Numbers
    words: Numbers
    plain_words: Numbers
    plain_characters: Numbers
    alpha_words: Numbers
    shouted_words: Numbers
    longest_word: Numbers
    hashes: Numbers
    ellipses: Numbers
    braces: Numbers
    newlines: Numbers
    lorem: Numbers
    all_lines: Numbers
    bullet_lines: Numbers
    ellipsis_lines: Numbers
    lines: Numbers
    ended_lines: Numbers
    short_lines: Numbers
    long_lines: Numbers
    split_lines: Numbers
    repeated_lines: Numbers
    repeated_line_characters: Numbers
    paragraphs: Numbers
    repeated_paragraphs: Numbers
    repeated_paragraph_characters: Numbers
    top_2: Numbers
    top_3: Numbers
    top_4: Numbers
    repeated_5: Numbers
    repeated_6: Numbers
    repeated_7: Numbers
    repeated_8: Numbers
    repeated_9: Numbers
    repeated_10: Numbers
    stop_words: Numbers
    stop_word_uses: Numbers
    sentences: Numbers
    dirty_words: Numbers
    digits: Numbers
    uppercase: Numbers
    code_lines: Numbers
    formulas: Numbers
    mathematical_signs: Numbers
    # from here on: what the rule that took lines out did
    lines_in: Numbers
    words_in: Numbers
    words_out: Numbers
    few_words: Numbers
    long_word: Numbers
    unended: Numbers
    javascript: Numbers
    policy: Numbers
    capitals: Numbers
    numbers: Numbers
    counters: Numbers
    calls: Numbers
    covered: Numbers
    braces_met: Numbers
    lorem_met: Numbers
    line_sentences: Numbers
    language_score: Numbers
    language: Texts

    def __len__(self) -> int:
        return len(self.language)

    def columns(self) -> dict[str, Numbers]:
        """The numbers by name."""
        return {name: getattr(self, name) for name in NUMBERS}

    @classmethod
    def of(cls, columns: Mapping[str, Numbers], language: Texts) -> Self:
        return cls(**{name: columns[name] for name in NUMBERS}, language=language)


NUMBERS = tuple(field.name for field in fields(Stats) if field.name != "language")
MEASURED = NUMBERS[: NUMBERS.index("lines_in")]
EDITED = NUMBERS[NUMBERS.index("lines_in") : NUMBERS.index("language_score")]


def measure(
    texts: Packed | arrow.Array | Sequence[str],
    languages: Languages | None = None,
    edits: NDArray[np.float64] | None = None,
) -> Stats:
    """The statistics of `texts`, in their order.

    languages: recognised here when not given. edits: what `filters.lines` counted, [N, len(EDITED)].
    """
    packed = texts if isinstance(texts, Packed) else pack(texts)
    known = languages or recognise(packed.heads(4 * READ_CHARACTERS))
    values = np.zeros((packed.count, len(MEASURED)))
    index = np.array([characters.LANGUAGES.get(code, 0 if code == "und" else -1) for code in known.codes], np.int32)
    if packed.count:
        library().herd_measure(packed.argument, pointer(index), pointer(values))
    done = edits if edits is not None else np.zeros((packed.count, len(EDITED)))
    columns = dict(zip(MEASURED, values.T, strict=True)) | dict(zip(EDITED, done.T, strict=True))
    return Stats.of(columns | {"language_score": known.scores}, known.codes)
