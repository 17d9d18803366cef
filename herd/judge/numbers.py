"""Answers that are a number, as GSM8K and MGSM have them."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from typing import Literal

from herd.judge.extraction import ExactMatch, regex_answer
from herd.judge.verdict import AnswerVerdict, match_verdict, unparsed_verdict

_FLEXIBLE = re.compile(r"(-?[$0-9.,]{2,})|(-?[0-9]+)")
GSM8K_MATCH = ExactMatch(ignore_case=True, regexes_to_ignore=(",", r"\$", r"(?s).*#### ", r"\.$"))
# lm-eval's for MGSM. It takes out every point: 18.5 counts as 185, and 1.000 as 1000.
MGSM_MATCH = ExactMatch(ignore_case=True, ignore_punctuation=True)
Extraction = Literal["strict", "flexible"]


@dataclass(frozen=True)
class NumberForm:
    """How a task's answers end. pattern: of the strict extraction. select: which of its matches counts."""

    pattern: re.Pattern[str]
    select: int = 0
    match: ExactMatch = GSM8K_MATCH


# By lm-eval's names of tasks. `gsm8k_official`: the rule of GSM8K's own release (dataset.py), whose model solutions say
# `A:` for `####`.
NUMBER_FORMS = {
    "gsm8k": NumberForm(re.compile(r"#### (\-?[0-9\.\,]+)")),
    "gsm8k_cot": NumberForm(re.compile(r"The answer is (\-?[0-9\.\,]+).")),
    "gsm8k_cot_llama": NumberForm(re.compile(r"The final answer is ((-?[$0-9.,]{2,})|(-?[0-9]+))"), -1),
    "gsm8k_official": NumberForm(
        re.compile(r"(?:####|A:) (\-?[0-9\.\,]+)"), 0, ExactMatch(regexes_to_ignore=("(?s).*#### ", ","))
    ),
}
# What a chain of thought in a language ends with. Source: lm-eval, mgsm_native_cot, after MGSM's own exemplars.
_MGSM_ENDINGS = {
    "bn": r"The answer is (\-?[0-9\.\,]+)",
    "de": r"Die Antwort lautet (\-?[0-9\.\,]+)",
    "en": r"The answer is (\-?[0-9\.\,]+)",
    "es": r"La respuesta es (\-?[0-9\.\,]+)",
    "fr": r"La réponse est (\-?[0-9\.\,]+)",
    "ja": r"答えは(\-?[0-9\.\,]+)です。",
    "ru": r"Ответ — (\-?[0-9\.\,]+)",
    "sw": r"Jibu ni (\-?[0-9\.\,]+)",
    "te": r"సమాధానం (\-?[0-9\.\,]+)",
    "th": r"คำตอบคือ (\-?[0-9\.\,]+)",
    "zh": r"答案是 (\-?[0-9\.\,]+)。",
}
MGSM_FORMS = {language: NumberForm(re.compile(ending), match=MGSM_MATCH) for language, ending in _MGSM_ENDINGS.items()}
# The word before the answer, which the prompt asks for in its own language. Source: simple-evals, mgsm_eval; Llama 3's
# MGSM has it from there (eval_details of llama-models).
MGSM_ANSWER_WORDS = {
    "en": "Answer",
    "bn": "উত্তর",
    "de": "Antwort",
    "es": "Respuesta",
    "fr": "Réponse",
    "ja": "答え",
    "ru": "Ответ",
    "sw": "Jibu",
    "te": "సమాధానం",
    "th": "คำตอบ",
    "zh": "答案",
}
# In these a point groups thousands and a comma begins decimals; elsewhere it is the other way round.
_DECIMAL_COMMA = frozenset({"de", "es", "fr", "ru"})


def grade_number(answer: str, target: str, *, form: NumberForm, extraction: Extraction = "strict") -> AnswerVerdict:
    """Whether the number in the answer is the target, a solution that ends with `#### N` or the number alone.

    strict: the one that stands where `form` says. flexible: the last of all. Source: lm-eval's filters of these names.
    """
    if extraction == "strict":
        number = regex_answer(form.pattern, answer, select=form.select)
    else:
        number = regex_answer(_FLEXIBLE, answer, select=-1)
    if number is None:
        return unparsed_verdict("no number stands where it should" if extraction == "strict" else "it has no number")
    return match_verdict(form.match.matches(number, [target]), number, form.match.normalize(target))


def grade_answer_word(answer: str, target: str, *, language: str) -> AnswerVerdict:
    """Whether the last number behind the word for `answer` in this language is the target.

    Source: simple-evals, mgsm_eval: commas are taken out, zeros behind a decimal point do not count, and a minus is not
    read, since no answer of MGSM is negative.
    """
    before, _, said = answer.rpartition(MGSM_ANSWER_WORDS[language])
    if not before and not answer.startswith(MGSM_ANSWER_WORDS[language]):
        return unparsed_verdict(f"it does not say {MGSM_ANSWER_WORDS[language]!r}")
    numbers = re.findall(r"\d+\.?\d*", said.replace(",", ""))
    if not numbers:
        return unparsed_verdict("no number follows the word for the answer")
    number = numbers[-1].rstrip(".")
    number = number.rstrip("0").rstrip(".") if "." in number else number
    return match_verdict(number == target.replace(",", ""), number, target)


def grade_localized(answer: str, target: str, *, language: str) -> AnswerVerdict:
    """Whether the last number of the answer is the target, as people write numbers in this language: digits of any
    script, and points, commas, apostrophes or blanks between thousands.

    Source: ours; lm-eval reads only 0-9, so that an answer in Bengali or Telugu digits is never right.
    """
    number = last_localized_number(answer, language)
    if number is None:
        return unparsed_verdict("it has no number")
    return match_verdict(number == _plain_number(target.replace(",", "")), number, target)


_LOCALIZED = re.compile(r"-?\d+(?:[.,'’٬٫\u00a0\u202f ]\d+)*")


def last_localized_number(text: str, language: str) -> str | None:
    """In 0-9 with a decimal point, without separators and zeros at its end; None where there is no number."""
    numbers = _LOCALIZED.findall(text)
    if not numbers:
        return None
    digits = "".join(str(unicodedata.digit(char)) if char.isdecimal() else char for char in numbers[-1])
    return _plain_number(_without_separators(digits, language))


def _without_separators(number: str, language: str) -> str:
    """A blank or apostrophe parts thousands; so does the language's mark, and any mark that stands before three digits
    and not after a 0 alone. Blanks between other numbers part these, and the last counts."""
    decimal, group = (",", ".") if language in _DECIMAL_COMMA else (".", ",")
    number = number.replace("٫", decimal).replace("٬", group)
    blank = re.compile("[\u00a0\u202f '’]")
    parts = blank.split(number)
    if len(parts) > 1:
        grouped = 1 <= len(parts[0].lstrip("-")) <= 3 and all(len(re.split("[.,]", part)[0]) == 3 for part in parts[1:])
        number = "".join(parts) if grouped else parts[-1]
    number = re.sub(rf"(?<=\d){re.escape(group)}(?=\d{{3}}(?!\d))", "", number)
    if number.count(decimal) == 1 and group not in number:
        return number.replace(decimal, ".")
    if number.count(group) == 1 and decimal not in number:  # the other habit: 1.5 in German
        return number.replace(group, ".")
    return number.replace(decimal, "").replace(group, "")


def _plain_number(number: str) -> str:
    sign, digits = ("-", number[1:]) if number.startswith("-") else ("", number)
    whole, _, decimals = digits.partition(".")
    whole, decimals = whole.lstrip("0") or "0", decimals.rstrip("0")
    plain = f"{whole}.{decimals}" if decimals else whole
    return "0" if plain == "0" else sign + plain
