"""Scores of answers about long texts, as InfiniteBench and ZeroSCROLLS compute them. All are 0 to 1.

Source: Zhang et al. 2024 (InfiniteBench), `src/compute_scores.py`; Shaham et al. 2023 (ZeroSCROLLS), 3.3.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Sequence
from decimal import Decimal

from herd.judge.reading import span_f1
from herd.judge.rouge import rouge_l, rouge_l_sum, rouge_n

_SIGNS = str.maketrans(dict.fromkeys("\n:\"'.,?!{}", " "))
_ANSWER_WORDS = ("answer is:", "answer:", "answer is", "option is")


def first_integer(answer: str, references: Sequence[str]) -> float:
    """Whether the first run of digits is the reference."""
    match = re.search(r"\d+", answer)
    return float(match is not None and match[0] == str(references[0]))


def word_in_answer(answer: str, references: Sequence[str]) -> float:
    """Whether the reference is a word of the answer."""
    return float(str(references[0]) in answer.translate(_SIGNS).split())


def name_in_answer(answer: str, references: Sequence[str]) -> float:
    """Whether any of the names is a word of the answer, in any case."""
    words = answer.translate(_SIGNS).upper().split()
    return float(any(str(reference).upper() in words for reference in references))


def last_integer(answer: str, references: Sequence[str]) -> float:
    """Whether the last word is the number."""
    words = re.sub(r"[\n.`'\":]", " ", answer).split()
    response = _number(words[-1]) if words else None
    return float(response is not None and response == _number(str(references[0])))


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def first_number(answer: str, references: Sequence[str]) -> float:
    """Whether the first number, whole where the reference is, is the reference."""
    reference = str(references[0])
    match = re.search(r"-?\d+\.\d+|-?\d+" if "." in reference else r"-?\d+", answer)
    return float(match is not None and _number(match[0]) == _number(reference))


def leading_numbers(answer: str, references: Sequence[str]) -> float:
    """The share of the numbers that stand in the answer in order, up to the first that does not."""
    right = 0
    for number, reference in zip(re.finditer(r"-?\d+", answer), references, strict=False):
        if Decimal(number[0]) != Decimal(reference):  # which reads any number of digits
            break
        right += 1
    return right / len(references)


def option_letter(answer: str, references: Sequence[str]) -> float:
    """Whether the answer names the right option. references: its letter and its text."""
    text = answer.strip()
    if not text:
        return 0.0
    if text[0] in "ABCD" and not text[1:2].isalpha():
        return float(text[0] in references)
    if text in references:
        return 1.0
    words = " ".join(re.sub(r"[\n\"'.,?!{}]", " ", text).split())
    for prefix in _ANSWER_WORDS:
        place = words.lower().find(prefix)
        if place >= 0:
            after = words[place + len(prefix) :].strip()
            return float(any(after.startswith(reference) for reference in references))
    letter = next((word for word in words.split() if word in tuple("ABCD")), "")
    return float(bool(letter) and letter in references)


def qa_f1(answer: str, references: Sequence[str]) -> float:
    """F1 of the words of the answer, against the nearest reference. Source: Rajpurkar et al. 2016 (SQuAD)."""
    return max(span_f1(answer, str(reference)) for reference in references)


def chinese_f1(answer: str, references: Sequence[str]) -> float:
    """F1 of the characters of the answer, against the nearest reference."""
    response = _characters(answer)
    return max(_bag_f1(response, _characters(str(reference))) for reference in references)


def _characters(text: str) -> list[str]:
    return [sign for sign in text.lower() if unicodedata.category(sign)[0] not in "PSZC"]


def _bag_f1(response: Sequence[str], reference: Sequence[str]) -> float:
    common = sum((Counter(response) & Counter(reference)).values())
    return 2 * common / (len(response) + len(reference)) if common else 0.0


def summary_rouge_l(answer: str, references: Sequence[str]) -> float:
    """ROUGE-Lsum against the nearest reference."""
    return max(rouge_l_sum(answer, str(reference)) for reference in references)


def answer_rouge_l(answer: str, references: Sequence[str]) -> float:
    """ROUGE-L against the nearest reference."""
    return max(rouge_l(answer, str(reference)) for reference in references)


def rouge_geometric_mean(answer: str, references: Sequence[str]) -> float:
    """The geometric mean of ROUGE-1, ROUGE-2 and ROUGE-L, against the nearest reference. Source: Shaham et al. 2022
    (SCROLLS), 4."""

    def mean(reference: str) -> float:
        return (rouge_n(answer, reference, 1) * rouge_n(answer, reference, 2) * rouge_l(answer, reference)) ** (1 / 3)

    return max(mean(str(reference)) for reference in references)


def exact_answer(answer: str, references: Sequence[str]) -> float:
    """Whether the answer is a reference but for case, articles and punctuation."""
    return float(
        any(span_f1(answer, str(reference)) == 1 and _same(answer, str(reference)) for reference in references)
    )


def _same(answer: str, reference: str) -> bool:
    words, gold = (re.sub(r"[^\w\s]", "", text.lower()).split() for text in (answer, reference))
    articles = ("a", "an", "the")
    return [word for word in words if word not in articles] == [word for word in gold if word not in articles]


def quality_letter(answer: str, references: Sequence[str]) -> float:
    """Whether the first letter from A to D that stands alone is the reference's, or the texts are the same."""
    match = re.search(r"\b([ABCD])\b", answer)
    gold = re.match(r"\W*([ABCD])\b", str(references[0]))
    if match and gold:
        return float(match[1] == gold[1])
    return exact_answer(answer, references)


def percent_similarity(answer: str, references: Sequence[str]) -> float:
    """How near a percentage is: a half for each 10 points that it is off. Source: ZeroSCROLLS, 3.3 (SpaceDigest)."""
    response, gold = (re.search(r"\d+(?:\.\d+)?", text) for text in (answer, str(references[0])))
    if response is None or gold is None or not 0 <= float(response[0]) <= 100:
        return 0.0
    return 0.5 ** (abs(float(response[0]) - float(gold[0])) / 10)


def order_concordance(answer: str, references: Sequence[str]) -> float:
    """The share of pairs that stand in the right order; 0 where the numbers are not those of the reference. Source:
    ZeroSCROLLS, 3.3 (BookSumSort)."""
    response, gold = (re.findall(r"\d+", text) for text in (answer, str(references[0])))
    if sorted(response) != sorted(gold) or len(set(gold)) < 2:
        return 0.0
    place = {number: index for index, number in enumerate(response)}
    pairs = [(first, second) for index, first in enumerate(gold) for second in gold[index + 1 :]]
    return sum(place[first] < place[second] for first, second in pairs) / len(pairs)
