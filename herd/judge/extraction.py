"""What an answer says, read out of the words around it.

Every pattern is one that lm-eval 0.4.13 uses, under the name of its task or filter, so that a score can be read beside
others'. All take time linear in the answer.
"""

from __future__ import annotations

import re
import string
import sys
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

from herd.judge.verdict import AnswerVerdict, match_verdict, unparsed_verdict

# Where the letter of the chosen answer stands. `best_answer`: mmlu_cot_llama, and Llama 3's own (eval_details of
# llama-models). `mmlu_pro_llama`, `mmlu_pro`: those tasks'. `answer_colon`: what MMLU-Pro's authors try next.
LETTER_PATTERNS = {
    "best_answer": re.compile(r"best answer is ([A-Z])"),
    "mmlu_pro_llama": re.compile(r"[tT]he best answer is ([A-Z])"),
    "mmlu_pro": re.compile(r"answer is \(?([ABCDEFGHIJ])\)?"),
    "answer_colon": re.compile(r"[aA]nswer:\s*\(?([A-Z])\b"),
}
# What an answer to a task of BIG-Bench Hard ends with. Source: Suzgun et al. 2022; lm-eval, bbh_cot_fewshot and
# bbh_cot_zeroshot. The last character is left out: it should be the full stop.
ANSWER_PATTERNS = {
    "bbh": re.compile(r"(?<=the answer is )(.*)(?=.)"),
    "bbh_zeroshot": re.compile(
        r"((?<=The answer is )(.*)(?=.)|(?<=the answer is )(.*)(?=.)|(?<=The answer: )(.*)(?=.)"
        r"|(?<=The final answer: )(.*)(?=.))"
    ),
    "gpqa": re.compile(r"(?<=The answer is )(.*)(?=.)"),
}


def regex_answer(pattern: re.Pattern[str], text: str, *, select: int = 0) -> str | None:
    """The match number `select` (-1 is the last), of its groups the first that is not empty; None without one.

    Source: lm-eval's filter `regex`.
    """
    matches = pattern.findall(text)
    if not matches:
        return None
    match = matches[select]
    if isinstance(match, tuple):
        match = next((group for group in match if group), None)
    return None if match is None else match.strip()


@dataclass(frozen=True)
class ExactMatch:
    """Whether two texts are the same, after what is named was taken out of both.

    regexes_to_ignore: patterns, in order. Source: lm-eval's metric `exact_match`.
    """

    ignore_case: bool = False
    ignore_punctuation: bool = False
    regexes_to_ignore: tuple[str, ...] = ()

    def normalize(self, text: str) -> str:
        for pattern in self.regexes_to_ignore:
            text = re.sub(pattern, "", text)
        text = text.lower() if self.ignore_case else text
        return text.translate(_NO_ASCII_PUNCTUATION) if self.ignore_punctuation else text

    def matches(self, prediction: str, references: Sequence[str]) -> bool:
        """Whether it is the same as any of them."""
        answer = self.normalize(prediction)
        return any(answer == self.normalize(reference) for reference in references)


_NO_ASCII_PUNCTUATION = str.maketrans("", "", string.punctuation)
LETTER_MATCH = ExactMatch(ignore_case=True, ignore_punctuation=True, regexes_to_ignore=(r"\$", r"\.$"))


def grade_letter(answer: str, target: str, *, pattern: str = "best_answer") -> AnswerVerdict:
    """Whether the answer names the letter `target`; of several the last counts, and for `mmlu_pro` the first."""
    letter = regex_answer(LETTER_PATTERNS[pattern], answer, select=0 if pattern == "mmlu_pro" else -1)
    if letter is None:
        return unparsed_verdict("no letter was found where the answer should name one")
    return match_verdict(LETTER_MATCH.matches(letter, [target]), letter, target)


def grade_bare_letter(answer: str, target: str) -> AnswerVerdict:
    """Whether the answer, which goes on from `The best answer is`, is the letter and nothing else.

    Source: lm-eval, arc_challenge_llama and mmlu_llama, whose answers begin after their `gen_prefix`.
    """
    letter = answer.strip()
    return (
        match_verdict(LETTER_MATCH.matches(letter, [target]), letter, target)
        if letter
        else unparsed_verdict("it is empty")
    )


def choice_letter(answer: str, choices: Sequence[str], *, select: int = -1) -> str | None:
    """The letter, as in `(A)`, that the answer names in brackets; else that of the choice whose words it repeats; else
    the one that follows a colon; None without any.

    Source: lm-eval's filter `multi_choice_regex` with case and punctuation ignored (gpqa's `flexible-extract`). The
    longest choice wins where one begins with another.
    """
    if (letter := regex_answer(_BRACKETED, answer, select=select)) is not None:
        return letter
    letters = {_plain_words(choice.strip()): f"({chr(65 + number)})" for number, choice in enumerate(choices)}
    words = re.compile("|".join(re.escape(words) for words in sorted(letters, key=len, reverse=True)))
    if text := regex_answer(words, _plain_words(answer), select=select):
        return letters.get(text, text)
    after_colon = re.compile(rf":[\s]*({'|'.join(chr(65 + number) for number in range(len(choices)))})")
    letter = regex_answer(after_colon, answer, select=select)
    return f"({letter})" if letter else None


_BRACKETED = re.compile(r"(\([A-Z]\))")


def _plain_words(text: str) -> str:
    return text.lower().translate(_no_punctuation())


@cache
def _no_punctuation() -> dict[int, None]:
    """All of Unicode's punctuation, to nothing."""
    return dict.fromkeys(code for code in range(sys.maxunicode) if unicodedata.category(chr(code)).startswith("P"))


def grade_choice(answer: str, target: str, choices: Sequence[str]) -> AnswerVerdict:
    """Whether the answer names the choice with the letter `target`, as in `(A)`, by letter or by its words."""
    letter = choice_letter(answer, choices)
    if letter is None:
        return unparsed_verdict("it names no choice by letter or words")
    return match_verdict(ExactMatch(True, True).matches(letter, [target]), letter, target)


# What lm-eval's bbh_cot_zeroshot takes out of both texts.
BBH_ZEROSHOT_MATCH = ExactMatch(ignore_case=True, regexes_to_ignore=(r"\.$", ",", r"\\", "\n", '"'))


def grade_answer_is(answer: str, target: str, *, pattern: str = "bbh") -> AnswerVerdict:
    """Whether what follows `the answer is` equals the target, up to a last character, which should be a full stop."""
    text = regex_answer(ANSWER_PATTERNS[pattern], answer)
    if text is None:
        return unparsed_verdict("it never says what the answer is")
    rules = {"bbh": ExactMatch(), "bbh_zeroshot": BBH_ZEROSHOT_MATCH, "gpqa": ExactMatch(True, True)}
    return match_verdict(rules[pattern].matches(text, [target]), text, target)
