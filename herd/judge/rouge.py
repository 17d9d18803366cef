"""ROUGE, as the package rouge_score 0.1.2 computes it without a stemmer.

Source: Lin 2004 (ROUGE), sections 2 to 3.2.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

# Of a longer text only so many words are compared.
MAX_WORDS = 20_000


def rouge_words(text: str) -> list[str]:
    """Runs of ASCII letters and digits, in lower case."""
    return re.findall(r"[a-z0-9]+", text.lower())[:MAX_WORDS]


def rouge_n(prediction: str, reference: str, n: int) -> float:
    """F1 of runs of n words."""
    grams, gold = _grams(rouge_words(prediction), n), _grams(rouge_words(reference), n)
    common = sum((grams & gold).values())
    return _f1(common, max(sum(grams.values()), 1), max(sum(gold.values()), 1))


def _grams(words: Sequence[str], n: int) -> Counter[tuple[str, ...]]:
    return Counter(tuple(words[start : start + n]) for start in range(len(words) - n + 1))


def rouge_l(prediction: str, reference: str) -> float:
    """F1 of the longest common subsequence of words."""
    words, gold = rouge_words(prediction), rouge_words(reference)
    if not words or not gold:
        return 0.0
    return _f1(_common_length(words, gold), len(words), len(gold))


def _f1(common: float, predicted: int, gold: int) -> float:
    precision, recall = common / predicted, common / gold
    return 2 * precision * recall / (precision + recall) if precision + recall > 0 else 0.0


def _common_length(first: Sequence[str], second: Sequence[str]) -> int:
    """Length of the longest common subsequence, a row of bits at a time.

    Source: Hyyrö 2004 (Bit-parallel LCS-length computation revisited), figure 2.
    """
    positions: dict[str, int] = {}
    for number, word in enumerate(first):
        positions[word] = positions.get(word, 0) | 1 << number
    mask = (1 << len(first)) - 1
    row = mask
    for word in second:
        matches = row & positions.get(word, 0)
        row = ((row + matches) | (row - matches)) & mask
    return len(first) - row.bit_count()


def rouge_l_sum(prediction: str, reference: str) -> float:
    """F1 of the union of longest common subsequences over the lines of both texts. Source: Lin 2004, section 3.2."""
    gold, lines = _lines_of_words(reference), _lines_of_words(prediction)
    if not gold or not lines:
        return 0.0
    unmatched = Counter(word for words in lines for word in words)
    left_gold = Counter(word for words in gold for word in words)
    predicted, gold_count, hits = unmatched.total(), left_gold.total(), 0
    for words in gold:
        union = sorted(set().union(*(_common_positions(words, line) for line in lines)))
        for word in (words[number] for number in union):
            if unmatched[word] > 0 and left_gold[word] > 0:
                hits += 1
                unmatched[word] -= 1
                left_gold[word] -= 1
    return _f1(hits, predicted, gold_count)


def _lines_of_words(text: str) -> list[list[str]]:
    """Of lines that have any; of a text with more than `MAX_WORDS` altogether the first so many."""
    lines, unmatched = [], MAX_WORDS
    for line in text.split("\n"):
        if words := rouge_words(line)[:unmatched]:
            lines.append(words)
            unmatched -= len(words)
    return lines


def _common_positions(gold: Sequence[str], line: Sequence[str]) -> set[int]:
    """Which words of `gold` are in one longest common subsequence; of several the one that rouge_score finds."""
    table = [[0] * (len(line) + 1)]
    for word in gold:
        above, row = table[-1], [0]
        for column, other in enumerate(line):
            row.append(above[column] + 1 if word == other else max(above[column + 1], row[column]))
        table.append(row)
    row, column, positions = len(gold), len(line), set()
    while row and column:
        if gold[row - 1] == line[column - 1]:
            positions.add(row - 1)
            row, column = row - 1, column - 1
        elif table[row][column - 1] > table[row - 1][column]:
            column -= 1
        else:
            row -= 1
    return positions
