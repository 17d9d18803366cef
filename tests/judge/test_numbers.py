"""Answers that are a number."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from herd.judge.numbers import (
    MGSM_ANSWER_WORDS,
    MGSM_FORMS,
    NUMBER_FORMS,
    grade_answer_word,
    grade_localized,
    grade_number,
    last_localized_number,
)
from tests.judge.data import rows


@pytest.mark.parametrize(
    ("answer", "target", "form", "extraction", "score"),
    [
        ("9 * 2 = 18\n#### 18", "#### 18", "gsm8k", "strict", 1),
        ("#### 1,018", "1018", "gsm8k", "strict", 1),
        ("#### 18.", "18", "gsm8k", "strict", 1),
        ("#### $18", "18", "gsm8k", "strict", 0),  # the dollar is no part of the pattern
        ("#### 18\n#### 19", "18", "gsm8k", "strict", 1),  # the first counts
        ("The answer is 18.", "18", "gsm8k_cot", "strict", 1),
        ("The answer is 18", "1", "gsm8k_cot", "strict", 1),  # upstream's pattern wants a sign behind, and takes one
        ("The final answer is $1,018.", "1018", "gsm8k_cot_llama", "strict", 1),
        ("The final answer is 17. The final answer is 18", "18", "gsm8k_cot_llama", "strict", 1),
        ("It is 18, not 17.", "17", "gsm8k", "flexible", 1),
        ("so 18 dollars", "18", "gsm8k", "flexible", 1),
        ("18.0", "18", "gsm8k", "flexible", 0),
        ("none", "18", "gsm8k", "flexible", 0),
    ],
)
def test_gsm8k_as_lm_eval_reads_it(answer: str, target: str, form: str, extraction: str, score: float) -> None:
    verdict = grade_number(answer, target, form=NUMBER_FORMS[form], extraction=extraction)  # type: ignore[arg-type]
    assert verdict.score == score, verdict


def test_labels_of_the_releases_model_solutions() -> None:
    wrong, count = [], 0
    for row in rows("gsm8k/model_solutions_sample.jsonl.gz"):
        for name in ("6b_finetuning", "6b_verification", "175b_finetuning", "175b_verification"):
            target = row["ground_truth"].rpartition("A: ")[2]
            verdict = grade_number(row[name]["solution"], target, form=NUMBER_FORMS["gsm8k_official"])
            count += 1
            if bool(verdict.score) != row[name]["is_correct"]:
                wrong.append((row["test_index"], name, verdict))
    assert count == 1476
    assert not wrong


def test_mgsm_by_language() -> None:
    assert grade_number("Die Antwort lautet 18.", "18", form=MGSM_FORMS["de"]).score == 1
    assert grade_number("答えは18です。", "18", form=MGSM_FORMS["ja"]).score == 1
    assert grade_number("答案是 18", "18", form=MGSM_FORMS["zh"]).unparsed
    assert grade_number("సమాధానం 18.", "18", form=MGSM_FORMS["te"]).score == 1
    assert grade_number("It is 1.018", "1018", form=MGSM_FORMS["en"], extraction="flexible").score == 1  # a quirk
    assert MGSM_FORMS.keys() == MGSM_ANSWER_WORDS.keys()
    for language, word in MGSM_ANSWER_WORDS.items():
        assert grade_answer_word(f"3 + 4\n{word}: $1,018.50.", "1018.5", language=language).score == 1
        assert grade_answer_word(f"3 + 4 = 7 {word}: -", "7", language=language).unparsed
    assert grade_answer_word("It is 7", "7", language="en").reason == "it does not say 'Answer'"


def test_every_answer_of_mgsm_is_its_own() -> None:
    for language in ("de", "es", "sw", "te", "zh"):
        for row in rows(f"mgsm/mgsm_{language}_rows0-49.jsonl"):
            said = f"{MGSM_ANSWER_WORDS[language]}: {row['answer']}"
            assert grade_answer_word(said, row["answer"], language=language).score == 1
            assert grade_localized(said, row["answer"], language=language).score == 1


@pytest.mark.parametrize(
    ("text", "language", "number"),
    [
        ("১,২৩৪ টাকা", "bn", "1234"),
        ("౧౮", "te", "18"),
        ("1.234,50 Euro", "de", "1234.5"),
        ("1 234", "ru", "1234"),
        ("12 5", "ru", "5"),
        ("3.5", "de", "3.5"),
        ("3.500", "de", "3500"),
        ("3,500", "en", "3500"),
        ("it is 1,234.00.", "en", "1234"),
        ("-0.50", "en", "-0.5"),
        ("1'234", "de", "1234"),
        ("٣٫٥", "en", "3.5"),
        ("none", "en", None),
    ],
)
def test_numbers_as_people_write_them(text: str, language: str, number: str | None) -> None:
    assert last_localized_number(text, language) == number


@given(st.integers(0, 10**9), st.sampled_from(sorted(MGSM_ANSWER_WORDS)))
def test_thousands_are_grouped_by_the_languages_mark(value: int, language: str) -> None:
    mark = "." if language in ("de", "es", "fr", "ru") else ","
    assert grade_localized(f"= {value:,}".replace(",", mark), str(value), language=language).score == 1
