"""What the kernels know about characters and words: Unicode's classes, and the stop words of languages."""

from __future__ import annotations

import unicodedata
from functools import cache

import numpy as np
from numpy.typing import NDArray

# The scripts above are ideographs, Hangul, private and emoji, which the kernels tell apart by their ranges.
TABLE_SIZE = 0x3400
LETTER, SYMBOL, UPPER, DIGIT, MARK, TERMINAL, BLANK, IDEOGRAPH = (1 << bit for bit in range(8))
NOTHING, GAP = 0xFFFFFFFF, 0
# Unicode's Sentence_Terminal property, as far as living scripts of large corpora use it.
_TERMINALS = set(".?!\u203c\u203d\u2047\u2048\u2049\u3002\u0589\u061d\u061e\u061f\u06d4\u0700\u0701\u0702\u07f9") | set(
    "\u0964\u0965\u104a\u104b\u1362\u1367\u1368\u166e\u1735\u1736\u17d4\u17d5\u1803\u1809\u1944\u1945\u2e3c\u2e53\u2e54"
)

# Gopher's eight English ones; for other languages the eight that do the same work in a sentence: articles,
# the copula, prepositions, conjunctions. A document is held to those of the language it is in.
STOP_WORDS: dict[str, tuple[str, ...]] = {
    language: tuple(words.split())
    for language, words in {
        "en": "the be to of and that have with",
        "ar": "في من على إلى أن هذا التي عن",
        "bg": "и на да се в за от с",
        "bn": "এবং না এই করে থেকে জন্য হয় ও",
        "ca": "el la de que i en a amb",
        "cs": "a se na je v že do s",
        "da": "og at det er en til af med",
        "de": "der die das und ist mit zu nicht",
        "el": "και το της να του η την με",
        "es": "el la de que y en los con",
        "fa": "و در به از که این را با",
        "fi": "ja on ei että se ovat oli myös",
        "fr": "le la de et les des que est",
        "he": "של את על לא זה הוא או עם",
        "hi": "के में है की से और का को",
        "hu": "a az és hogy nem is van egy",
        "id": "yang dan di untuk dengan ini dari itu",
        "it": "il la di che e per non con",
        "ko": "이 그 수 있는 등 및 하는 것",
        "nl": "de het een van en is dat met",
        "no": "og i er det som på en til",
        "pl": "i w na z do się nie jest",
        "pt": "o a de que e do em com",
        "ro": "și de la cu nu care este pe",
        "ru": "и в на не что с по это",
        "sr": "и у је да на се за су",
        "sv": "och att det i som en är med",
        "tr": "ve bir bu için da ile de olarak",
        "uk": "і в на не що з до та",
        "vi": "và của là có các trong được cho",
        "ja": "の に は を た が で と",
        "zh": "的 是 在 了 和 有 不 为",
    }.items()
}
LANGUAGES = {language: number for number, language in enumerate(STOP_WORDS)}


@cache
def tables() -> tuple[NDArray[np.uint8], NDArray[np.uint32], NDArray[np.uint32]]:
    """Of the first `TABLE_SIZE` code points: class bits, the lower-case form, and what MinHash makes of them.

    Folded, a letter loses case and accents, a digit is 0, a combining mark is NOTHING and all else a GAP.
    """
    classes = np.array([_class_of(chr(code)) for code in range(TABLE_SIZE)], np.uint8)
    lowered = np.array([_lower(chr(code)) for code in range(TABLE_SIZE)], np.uint32)
    folded = np.array([_fold(chr(code)) for code in range(TABLE_SIZE)], np.uint32)
    return classes, lowered, folded


def _class_of(character: str) -> int:
    category = unicodedata.category(character)
    ascii_symbol = character < "\x7f" and category[0] in "PS"
    return (
        LETTER * character.isalpha()
        | SYMBOL * (category[0] == "P" or ascii_symbol or category == "Cc")
        | UPPER * character.isupper()
        | DIGIT * (category == "Nd")
        | MARK * (category == "Mn")
        | TERMINAL * (character in _TERMINALS)
        | BLANK * character.isspace()
        | IDEOGRAPH * ("\u3040" <= character <= "\u30ff" or "\u3100" <= character <= "\u312f")
    )


def _lower(character: str) -> int:
    lowered = character.lower()
    return ord(lowered) if len(lowered) == 1 else ord(character)


def _fold(character: str) -> int:
    category = unicodedata.category(character)
    if category == "Nd":
        return ord("0")
    if category == "Mn":
        return NOTHING
    if category[0] not in "LNM":
        return GAP
    first, *marks = unicodedata.normalize("NFD", chr(_lower(character)))
    return _lower(first) if all(unicodedata.category(mark) == "Mn" for mark in marks) else _lower(character)
