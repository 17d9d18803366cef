"""IFEval's 25 checks: whether an answer follows one instruction that a program can verify.

Each takes the answer and the instruction's arguments by their names in the data. Verdicts are those of the checker of
google-research (lm-eval 0.4.13 has a copy), except where `Differs:` says so. Patterns that could take time
quadratic in the answer's length are written as scans.

Source: Zhou et al. 2023 (IFEval), table 1, and its instructions.py.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Sequence

from herd.core.errors import DataError
from herd.judge.languages import detect_language
from herd.judge.sentences import sentence_count, word_tokens

Check = Callable[..., bool]
CONSTRAINED_RESPONSES = ("My answer is yes.", "My answer is no.", "My answer is maybe.")


def holds(count: int, relation: str, threshold: int) -> bool:
    """`less than` or `at least`, the two relations of the data. Raises DataError for another."""
    if relation not in ("less than", "at least"):
        raise DataError(f"an instruction's relation is {relation!r}; it is `less than` or `at least`")
    return count < threshold if relation == "less than" else count >= threshold


def number_words(answer: str, *, num_words: int, relation: str) -> bool:
    return holds(len(re.findall(r"\w+", answer)), relation, num_words)


def number_sentences(answer: str, *, num_sentences: int, relation: str) -> bool:
    return holds(sentence_count(answer), relation, num_sentences)


def number_paragraphs(answer: str, *, num_paragraphs: int) -> bool:
    """Exactly so many, parted by `***`; an empty one in the middle is never allowed."""
    paragraphs = [bool(part.strip()) for part in re.split(r"\s?\*\*\*\s?", answer)]
    if not all(paragraphs[1:-1]):
        return False
    return sum(paragraphs) == num_paragraphs


def nth_paragraph_first_word(answer: str, *, num_paragraphs: int, nth_paragraph: int, first_word: str) -> bool:
    """So many that are not empty, parted by blank lines, and the n-th of all begins with the word."""
    paragraphs = answer.split("\n\n")
    count = sum(bool(paragraph.strip()) for paragraph in paragraphs)
    if nth_paragraph > count or not (paragraph := paragraphs[nth_paragraph - 1].strip()):
        return False
    word = re.split(r"[.,?!'\"]", paragraph.split()[0].lstrip("'").lstrip('"'))[0]
    return count == num_paragraphs and "".join(letter.lower() for letter in word) == first_word.lower()


def existence(answer: str, *, keywords: Sequence[str]) -> bool:
    return all(keyword_pattern(keyword).search(answer) for keyword in keywords)


def frequency(answer: str, *, keyword: str, frequency: int, relation: str) -> bool:
    count = sum(1 for _ in keyword_pattern(keyword.strip()).finditer(answer))
    return holds(count, relation, frequency)


def forbidden_words(answer: str, *, forbidden_words: Sequence[str]) -> bool:
    """None of them as a whole word."""
    return not any(keyword_pattern(word, r"\b{}\b").search(answer) for word in forbidden_words)


def keyword_pattern(keyword: str, form: str = "{}") -> re.Pattern[str]:
    """Any case; a keyword is a pattern, as upstream has it.

    Differs: one that is no valid pattern, such as `c++`, stands for its own letters; upstream raises.
    """
    try:
        return re.compile(form.format(keyword), re.IGNORECASE)
    except re.error:
        return re.compile(form.format(re.escape(keyword)), re.IGNORECASE)


def letter_frequency(answer: str, *, letter: str, let_frequency: int, let_relation: str) -> bool:
    """Of the letter in any case.

    Differs: a sign that is no letter, such as `#`, is counted too; upstream draws a letter at random for it.
    """
    count = answer.lower().count(letter.strip().lower())
    return holds(count, let_relation, let_frequency)


def response_language(answer: str, *, language: str) -> bool:
    """An answer without letters follows."""
    return (detect_language(answer) or language) == language


def number_placeholders(answer: str, *, num_placeholders: int) -> bool:
    """Of the shortest spans in square brackets, each on one line."""
    count = 0
    for line in answer.split("\n"):
        end = 0
        while (start := line.find("[", end)) >= 0 and (end := line.find("]", start) + 1) > 0:
            count += 1
    return count >= num_placeholders


def postscript(answer: str, *, postscript_marker: str) -> bool:
    marks = {"P.P.S": r"p\.\s?p\.\s?s", "P.S.": r"p\.\s?s\."}
    marker = postscript_marker.strip()
    pattern = re.compile(marks[marker]) if marker in marks else keyword_pattern(marker.lower())
    return pattern.search(answer.lower()) is not None


def number_bullet_lists(answer: str, *, num_bullets: int) -> bool:
    """Exactly so many lines that begin with one `*` or with `-`."""
    stars = sum(1 for _ in _lines_that_begin(answer, "*", not_next="*"))
    return stars + sum(1 for _ in _lines_that_begin(answer, "-")) == num_bullets


def _lines_that_begin(text: str, mark: str, not_next: str = "") -> Iterator[int]:
    r"""Where matches of `^\s*MARK[^NEXT].*$` begin, which do not overlap: blank lines before the mark belong to it, and
    the sign after it may be the line's end."""
    start = 0
    while start < len(text):
        begin = _BLANK.match(text, start).end()  # type: ignore[union-attr]  # it matches the empty text
        end = after = begin + len(mark) + len(not_next)
        if text.startswith(mark, begin) and after <= len(text) and (not not_next or text[after - 1] != not_next):
            yield start
        else:
            end = begin
        end = text.find("\n", end)
        if end < 0:
            return
        start = end + 1


_BLANK = re.compile(r"\s*")


def constrained_response(answer: str) -> bool:
    return any(option in answer for option in CONSTRAINED_RESPONSES)


def number_highlighted_sections(answer: str, *, num_highlights: int) -> bool:
    """Of `*spans*` and of `**spans**` with more than blanks in them, each on one line."""
    single = sum(bool(span.strip("*").strip()) for span in re.findall(r"\*[^\n\*]*\*", answer))
    double = sum(bool(span[2:-2].strip()) for span in re.findall(r"\*\*[^\n\*]*\*\*", answer))
    return single + double >= num_highlights


def multiple_sections(answer: str, *, section_spliter: str, num_sections: int) -> bool:
    """So many marks such as `Section 1`."""
    return len(keyword_split(section_spliter.strip(), answer)) - 1 >= num_sections


def keyword_split(mark: str, answer: str) -> list[str]:
    """What stands between the marks with a number; the mark is a pattern unless it is no valid one."""
    try:
        return re.split(rf"\s?{mark}\s?\d+\s?", answer)
    except re.error:
        return re.split(rf"\s?{re.escape(mark)}\s?\d+\s?", answer)


def json_format(answer: str) -> bool:
    """All of it, but for a fence of Markdown.

    Differs: what is nested too deeply for Python's reader is no JSON; upstream raises.
    """
    text = answer.strip()
    for fence in ("```json", "```Json", "```JSON", "```"):
        text = text.removeprefix(fence)
    try:
        json.loads(text.removesuffix("```").strip())
    except (ValueError, RecursionError):
        return False
    return True


def title(answer: str) -> bool:
    """`<<words>>` on one line; from its first `<<` to its last `>>`."""
    for line in answer.split("\n"):
        start, end = line.find("<<"), line.rfind(">>")
        if 0 <= start <= end - 3 and line[start : end + 2].lstrip("<").rstrip(">").strip():
            return True
    return False


def two_responses(answer: str) -> bool:
    """Two that differ, parted by `******`."""
    parts = [part.strip() for part in answer.split("******")]
    if not all(parts[1:-1]):
        return False
    responses = [part for part in parts if part]
    return len(responses) == 2 and responses[0] != responses[1]


def repeat_prompt(answer: str, *, prompt_to_repeat: str) -> bool:
    return answer.strip().lower().startswith(prompt_to_repeat.strip().lower())


def end_checker(answer: str, *, end_phrase: str) -> bool:
    return answer.strip().strip('"').lower().endswith(end_phrase.strip().lower())


def quotation(answer: str) -> bool:
    text = answer.strip()
    return len(text) > 1 and text[0] == text[-1] == '"'


def capital_word_frequency(answer: str, *, capital_frequency: int, capital_relation: str) -> bool:
    """Of words whose letters are all capital."""
    return holds(sum(word.isupper() for word in word_tokens(answer)), capital_relation, capital_frequency)


def english_capital(answer: str) -> bool:
    return answer.isupper() and detect_language(answer) in ("en", None)


def english_lowercase(answer: str) -> bool:
    return answer.islower() and detect_language(answer) in ("en", None)


def no_comma(answer: str) -> bool:
    return "," not in answer


# By the names of the data: `length_constraints:number_words` is number_words.
INSTRUCTION_CHECKS: dict[str, Check] = {
    "keywords:existence": existence,
    "keywords:frequency": frequency,
    "keywords:forbidden_words": forbidden_words,
    "keywords:letter_frequency": letter_frequency,
    "language:response_language": response_language,
    "length_constraints:number_sentences": number_sentences,
    "length_constraints:number_paragraphs": number_paragraphs,
    "length_constraints:number_words": number_words,
    "length_constraints:nth_paragraph_first_word": nth_paragraph_first_word,
    "detectable_content:number_placeholders": number_placeholders,
    "detectable_content:postscript": postscript,
    "detectable_format:number_bullet_lists": number_bullet_lists,
    "detectable_format:constrained_response": constrained_response,
    "detectable_format:number_highlighted_sections": number_highlighted_sections,
    "detectable_format:multiple_sections": multiple_sections,
    "detectable_format:json_format": json_format,
    "detectable_format:title": title,
    "combination:two_responses": two_responses,
    "combination:repeat_prompt": repeat_prompt,
    "startend:end_checker": end_checker,
    "startend:quotation": quotation,
    "change_case:capital_word_frequency": capital_word_frequency,
    "change_case:english_capital": english_capital,
    "change_case:english_lowercase": english_lowercase,
    "punctuation:no_comma": no_comma,
}
