"""IFEval's checks in other languages."""

from __future__ import annotations

import pytest

from herd.judge.multi_if import (
    check_turn,
    east_asian_words,
    quotation_of_any_kind,
    sentences_in_language,
    words_in_language,
)
from tests.judge.needs import needs_langdetect, needs_punkt

CHINESE = "今天天气很好，我们去公园散步。你喜欢吗？当然喜欢！"
HINDI = "आज मौसम बहुत अच्छा है। हम बगीचे में टहलने जा रहे हैं। क्या आपको पसंद है?"


@needs_langdetect
def test_words_and_sentences_of_a_language() -> None:
    pytest.importorskip("emoji")
    letters = sum("\u4e00" <= letter <= "\u9fff" for letter in CHINESE)
    assert east_asian_words(CHINESE) == letters
    assert east_asian_words("漢字 two words 😀") == 5
    assert words_in_language(CHINESE, num_words=letters, relation="at least")
    assert not words_in_language(CHINESE, num_words=letters, relation="less than")
    assert sentences_in_language(CHINESE, num_sentences=3, relation="at least")
    assert not sentences_in_language(CHINESE, num_sentences=4, relation="at least")
    assert sentences_in_language(HINDI, num_sentences=3, relation="at least")
    assert not sentences_in_language(HINDI, num_sentences=4, relation="at least")


@needs_langdetect
@needs_punkt
def test_others_are_counted_as_in_ifeval() -> None:
    english = "This is one sentence. This is another one."
    assert words_in_language(english, num_words=8, relation="at least")
    assert sentences_in_language(english, num_sentences=3, relation="less than")


def test_quotation_marks_of_three_kinds() -> None:
    assert all(map(quotation_of_any_kind, ('"a"', "“a”", "「a」")))
    assert not any(map(quotation_of_any_kind, ("“a", '"', "'a'", "「a”")))
    assert check_turn("「a」", ["startend:quotation", "punctuation:no_comma"], [{}, {}]).strict == (True, True)
