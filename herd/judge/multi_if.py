"""Multi-IF's checks: IFEval's, with words, sentences and quotation marks of the answer's language.

Source: He et al. 2024 (Multi-IF), ifeval.py and metrics.py of facebookresearch/Multi-IF.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from herd.core.extras import ExtraPackage, import_extra
from herd.judge.ifeval import InstructionVerdict, check_instructions
from herd.judge.instruction_checks import INSTRUCTION_CHECKS, Check, holds, number_words
from herd.judge.languages import detect_language
from herd.judge.sentences import sentence_count

_CHINESE_OR_JAPANESE = frozenset({"zh", "zh-cn", "zh-tw", "ja"})
_EAST_ASIAN_SENTENCE = re.compile(r"[^!?。.！？．\n]+[!?。.！？．\n]?")
_EAST_ASIAN_MARKS = re.compile("[\\\\.!?．/_,{}<>:;$%^&*(+\"'—！，。？、`~@#￥…）（：；《》“”()\\[\\]»〔〕\\-「」]+")
# Letters of these scripts, each of which counts as a word: Han, kana, Hangul.
_EAST_ASIAN_LETTERS = re.compile("[\u4e00-\u9fff\u3400-\u4dbf\u3040-\u30ff\uac00-\ud7af]")
_QUOTATION_MARKS = ('""', "“”", "「」")


def words_in_language(answer: str, *, num_words: int, relation: str) -> bool:
    """Chinese and Japanese by letters, Thai by pythainlp, other languages as IFEval."""
    language = detect_language(answer) or "en"
    if language == "th":
        thai = import_extra(ExtraPackage("pythainlp.tokenize", "thai", "counting Thai words"))
        return holds(len(thai.word_tokenize(answer)), relation, num_words)
    if language in _CHINESE_OR_JAPANESE:
        return holds(east_asian_words(answer), relation, num_words)
    return number_words(answer, num_words=num_words, relation=relation)


def east_asian_words(text: str) -> int:
    """Han, kana and Hangul letters, emoji, and runs of anything else between blanks."""
    emoji = import_extra(ExtraPackage("emoji", "benchmarks", "counting words among emoji"))
    text = _EAST_ASIAN_MARKS.sub("", text)
    count, text = emoji.emoji_count(text), emoji.replace_emoji(text, "")
    letters = len(_EAST_ASIAN_LETTERS.findall(text))
    return count + letters + len(_EAST_ASIAN_LETTERS.sub(" ", text).split())


def sentences_in_language(answer: str, *, num_sentences: int, relation: str) -> bool:
    """A line's end ends a sentence in Chinese, Japanese and Thai, a danda in Hindi; other languages as IFEval."""
    language = detect_language(answer) or "en"
    if language == "th":
        thai = import_extra(ExtraPackage("pythainlp.tokenize", "thai", "counting Thai sentences"))
        count = sum(len(thai.sent_tokenize(line)) for line in answer.splitlines())
    elif language == "hi":
        count = sum(bool(part.strip()) for part in re.split(r"(?<=[।!?])\s*", answer))
    elif language in _CHINESE_OR_JAPANESE:
        count = sum(len(_EAST_ASIAN_SENTENCE.findall(line.strip())) for line in answer.splitlines())
    else:
        count = sentence_count(answer)
    return holds(count, relation, num_sentences)


def quotation_of_any_kind(answer: str) -> bool:
    text = answer.strip()
    return len(text) > 1 and text[0] + text[-1] in _QUOTATION_MARKS


MULTI_IF_CHECKS: Mapping[str, Check] = INSTRUCTION_CHECKS | {
    "length_constraints:number_words": words_in_language,
    "length_constraints:number_sentences": sentences_in_language,
    "startend:quotation": quotation_of_any_kind,
}


def check_turn(answer: str, instructions: Sequence[str], arguments: Sequence[Mapping[str, Any]]) -> InstructionVerdict:
    """What the answer to one turn follows of that turn's instructions, which hold those of the turns before."""
    return check_instructions(answer, instructions, arguments, MULTI_IF_CHECKS)
