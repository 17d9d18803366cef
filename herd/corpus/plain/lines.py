"""Rules that take single lines out of documents."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from typing import Any

from herd.corpus.characters import BLANK, UPPER
from herd.corpus.plain.measure import count_sentences
from herd.corpus.plain.tables import values, words
from herd.corpus.plain.text import count_characters, is_space, rune_at, runes, split_lines
from herd.corpus.plain.words import Word, chain_hash, rune_class, split_words

EDITS = [name for name in values("lines.hpp", "Edit") if name != "EditCount"]
_POLICIES, _CALLS = words("lines.cpp", "kPolicies"), words("lines.cpp", "kCalls")
_COUNTED = frozenset(words("lines.cpp", "kCounted"))
_CITATION = re.compile(rb"\[[0-9]*\]|\[edit\]|\[citation needed\]")
_COUNT = re.compile(rb"[0-9.,]+[km]?[ \t-\r]*")


def trim(text: bytes) -> bytes:
    """Without blanks of any script at both ends."""
    while text:
        code, width = rune_at(text, 0)
        if not (rune_class(code) & BLANK or is_space(text[0])):
            break
        text = text[width:]
    while text:
        at = len(text) - 1
        while at > 0 and text[at] & 0xC0 == 0x80:
            at -= 1
        code, width = rune_at(text, at)
        if not (rune_class(code) & BLANK or is_space(text[at])):
            break
        text = text[: len(text) - width]
    return text


def split_at_spaces(line: bytes) -> list[bytes]:
    """What stands between blanks; control characters that separate records are none here."""
    spans, begin = [], 0
    if line.isascii():
        return line.split()
    for at, code, width in runes(line):
        if is_space(line[at]) if code < 0x80 else rune_class(code) & BLANK:
            if at > begin:
                spans.append(line[begin:at])
            begin = at + width
    return [*spans, line[begin:]] if begin < len(line) else spans


class Cleaner:
    """Cleans one text. rules: as `rewrites.lines` gives them to the kernels; a rule is off where its number is 0."""

    def __init__(self, rules: Any, text: bytes) -> None:
        self.rules = rules
        self.edits: Counter[str] = Counter()
        self.out: list[bytes] = []
        self.blank = False
        self.line = b""
        n = rules.covered_run
        spelled = split_words(text) if rules.covered_percent else []
        self.ngrams = (
            Counter(_ngram_key(spelled, start, n) for start in range(len(spelled) - n + 1)) if spelled else Counter()
        )

    def judge(self, line: bytes) -> str:
        """Why the line goes; empty where it stays, and then it is in `self.line` as it shall be."""
        rules, spans = self.rules, split_at_spaces(line)
        longest = rules.longest_word
        if longest and any(len(word) > longest and count_characters(word) > longest for word in spans):
            return "LongWord"
        self.line = _CITATION.sub(b"", line) if rules.citations and b"[" in line else line
        if rules.ended_only and not self.is_ended():
            return "Unended"
        if rules.min_words and len(spans) < rules.min_words:
            return "FewWords"
        lowered = self.line.lower()
        self.edits["LineLorem"] += b"lorem ipsum" in lowered
        if rules.javascript and b"javascript" in lowered:
            return "Javascript"
        self.edits["LineBraces"] += b"{" in self.line
        if rules.policies and any(policy in lowered for policy in _POLICIES):
            return "Policy"
        if rules.uppercase_percent and self.is_shouted():
            return "Capitals"
        if rules.numbers and self.is_number():
            return "Number"
        if rules.counters and (count := _COUNT.match(lowered)) and lowered[count.end() :] in _COUNTED:
            return "Counter"
        if rules.calls and len(spans) <= 10 and self.drop_call(lowered):
            return "Call"
        return "Covered" if rules.covered_percent and self.is_covered() else ""

    def run(self, text: bytes) -> bytes:
        has_output = False  # whether anything of this text is written
        for raw in split_lines(text):
            line = trim(raw)
            self.edits["LinesIn"] += 1
            self.edits["WordsIn"] += len(split_at_spaces(line))
            if not line:
                self.blank = self.blank or has_output
                continue
            if reason := self.judge(line):
                self.edits[reason] += 1
                continue
            self.edits["LineSentences"] += count_sentences(self.line, split_words(self.line))
            self.edits["WordsOut"] += len(split_at_spaces(self.line))
            if has_output:
                self.out.append(b"\n\n" if self.blank else b"\n")
            self.blank = False
            self.out.append(self.line)
            has_output = has_output or bool(self.line)
        return b"".join(self.out).rstrip()

    def is_ended(self) -> bool:
        return bool(self.line) and not self.line.endswith(b"...") and self.line[-1:] in b".?!\"'"

    def is_shouted(self) -> bool:
        kinds = [rune_class(code) for _, code, _ in runes(self.line)]
        return 100 * sum(kind & UPPER > 0 for kind in kinds) > self.rules.uppercase_percent * len(kinds)

    def is_number(self) -> bool:
        bare = self.line.translate(None, b" \t\n\v\f\r.,")
        return bare.isdigit()

    def drop_call(self, lowered: bytes) -> bool:
        """Takes `Read more...` off the end of a short line; says whether nothing is left."""
        for call in _CALLS:
            at = lowered.find(call)
            if at < 0:
                continue
            start = at == 0 and call.startswith(b"sign")
            end = at + len(call)
            while end < len(lowered) and (lowered[end] == 0x2E or is_space(lowered[end])):
                end += 1
            if not start and end < len(lowered) and call != b"items in cart":
                continue
            self.line = trim(self.line[:at] + self.line[end:])
            return not self.line
        return False

    def is_covered(self) -> bool:
        """Whether most of the line lies in runs of words that the document repeats."""
        spelled, n = split_words(self.line), self.rules.covered_run
        if len(spelled) < n:
            return False
        covered = end = 0
        for at, word in enumerate(spelled):
            if at + n <= len(spelled) and self.ngrams[_ngram_key(spelled, at, n)] > 1:
                end = at + n
            covered += word.characters * (at < end)
        return 100 * covered > self.rules.covered_percent * sum(word.characters for word in spelled)


def _ngram_key(spelled: Sequence[Word], start: int, n: int) -> int:
    """Numbers differ from line to line of a log; they count as one."""
    h = 0
    for word in spelled[start : start + n]:
        h = chain_hash(h, word.hash if word.letter else 1)
    return h


def clean_lines(texts: Sequence[bytes], rules: Any) -> tuple[list[bytes], list[list[float]]]:
    """The texts without the lines that rules take out, and the numbers of EDITS for each."""
    cleaned, edits, blank = [], [], False
    for text in texts:
        cleaner = Cleaner(rules, text)
        cleaner.blank = blank
        cleaned.append(cleaner.run(text))
        blank = cleaner.blank
        edits.append([float(cleaner.edits[name]) for name in EDITS])
    return cleaned, edits
