"""One pass that measures documents, so that many rules can judge them without reading them again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Self

import numpy as np
from numpy.typing import NDArray

from herd.corpus import characters
from herd.corpus.kernels import PackedTexts, corpus_kernels, pack_texts, pointer
from herd.corpus.language import READ_CHARACTERS, Languages, detect_languages

if TYPE_CHECKING:
    import pyarrow as arrow

StatColumn = NDArray[np.float64]
LanguageColumn = NDArray[np.str_]


@dataclass(frozen=True)
class Stats:
    """What was measured, one entry a document in every column. The kernels fill them in this order.

    characters, text_bytes: of the whole text. words: with each mark of punctuation as a word of its own;
    plain_words: without those, and plain_characters in them. alpha_words: with a letter. uppercase_words: all in
    capitals. longest_word: in characters. hashes, ellipses, braces, newlines: how often. lorem: 1 where it holds
    `lorem ipsum`. all_lines, bullet_lines, ellipsis_lines: lines, blank ones too, and those that start with a
    bullet or end with an ellipsis. lines: not blank; punctuated_lines: with a sentence's end last; short_lines: of at
    most 30 characters; long_lines: of 200 or more. split_lines, repeated_lines, repeated_line_characters: lines between
    runs of newlines, those equal to an earlier one, and what they hold; the same for paragraphs. top_2 to
    top_4: characters inside the most frequent n-gram of so many words. repeated_5 to repeated_10: characters inside
    n-grams of so many words that stood before. stop_words: different ones of the document's language;
    stop_word_uses: all of them. sentences. dirty_words: words and phrases of the list given. digits, uppercase:
    characters, those of ASCII. code_lines: lines that look like program text. formulas: in TeX.
    mathematical_signs: of Unicode.

    Of the rule that took lines out, if one did: lines_in, words_in, words_out; lines taken out for each
    reason; braces_met, lorem_met: on lines it looked at; line_sentences: on lines it left.
    language: an ISO 639-1 code, `und` where none was recognised; language_score: how sure, 0 to 1.
    """

    characters: StatColumn
    text_bytes: StatColumn
    words: StatColumn
    plain_words: StatColumn
    plain_characters: StatColumn
    alpha_words: StatColumn
    uppercase_words: StatColumn
    longest_word: StatColumn
    hashes: StatColumn
    ellipses: StatColumn
    braces: StatColumn
    newlines: StatColumn
    lorem: StatColumn
    all_lines: StatColumn
    bullet_lines: StatColumn
    ellipsis_lines: StatColumn
    lines: StatColumn
    punctuated_lines: StatColumn
    short_lines: StatColumn
    long_lines: StatColumn
    split_lines: StatColumn
    repeated_lines: StatColumn
    repeated_line_characters: StatColumn
    paragraphs: StatColumn
    repeated_paragraphs: StatColumn
    repeated_paragraph_characters: StatColumn
    top_2: StatColumn
    top_3: StatColumn
    top_4: StatColumn
    repeated_5: StatColumn
    repeated_6: StatColumn
    repeated_7: StatColumn
    repeated_8: StatColumn
    repeated_9: StatColumn
    repeated_10: StatColumn
    stop_words: StatColumn
    stop_word_uses: StatColumn
    sentences: StatColumn
    dirty_words: StatColumn
    digits: StatColumn
    uppercase: StatColumn
    code_lines: StatColumn
    formulas: StatColumn
    mathematical_signs: StatColumn
    # from here on: what the rule that took lines out did
    lines_in: StatColumn
    words_in: StatColumn
    words_out: StatColumn
    few_words: StatColumn
    long_word: StatColumn
    unpunctuated: StatColumn
    javascript: StatColumn
    policy: StatColumn
    capitals: StatColumn
    numbers: StatColumn
    counters: StatColumn
    calls: StatColumn
    covered: StatColumn
    braces_met: StatColumn
    lorem_met: StatColumn
    line_sentences: StatColumn
    language_score: StatColumn
    language: LanguageColumn

    def __len__(self) -> int:
        return len(self.language)

    def columns(self) -> dict[str, StatColumn]:
        """The numbers by name."""
        return {name: getattr(self, name) for name in STAT_NAMES}

    @classmethod
    def of(cls, columns: Mapping[str, StatColumn], language: LanguageColumn) -> Self:
        return cls(**{name: columns[name] for name in STAT_NAMES}, language=language)


STAT_NAMES = tuple(field.name for field in fields(Stats) if field.name != "language")
TEXT_STATS = STAT_NAMES[: STAT_NAMES.index("lines_in")]
EDIT_STATS = STAT_NAMES[STAT_NAMES.index("lines_in") : STAT_NAMES.index("language_score")]


def compute_stats(
    texts: PackedTexts | arrow.Array | Sequence[str],
    languages: Languages | None = None,
    edits: NDArray[np.float64] | None = None,
) -> Stats:
    """The statistics of `texts`, in their order.

    languages: recognised here when not given. edits: what `rewrites.lines` counted, [N, len(EDIT_STATS)].
    """
    packed = texts if isinstance(texts, PackedTexts) else pack_texts(texts)
    detected = languages or detect_languages(packed.heads(4 * READ_CHARACTERS))
    values = np.zeros((packed.count, len(TEXT_STATS)))
    index = np.array([characters.LANGUAGES.get(code, 0 if code == "und" else -1) for code in detected.codes], np.int32)
    if packed.count:
        corpus_kernels().herd_measure(packed.argument, pointer(index), pointer(values))
    edit_values = edits if edits is not None else np.zeros((packed.count, len(EDIT_STATS)))
    columns = dict(zip(TEXT_STATS, values.T, strict=True)) | dict(zip(EDIT_STATS, edit_values.T, strict=True))
    return Stats.of(columns | {"language_score": detected.scores}, detected.codes)
