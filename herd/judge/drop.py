"""DROP's exact match and F1, of numbers, spans and sets of spans.

Source: Dua et al. 2019 (DROP), section 5, and drop_eval.py of allennlp-reading-comprehension, which lm-eval 0.4.13 has
too.
"""

from __future__ import annotations

import re
import string
from collections.abc import Mapping, Sequence
from typing import Any

from herd.judge.verdict import AnswerVerdict

_ARTICLES = re.compile(r"\b(a|an|the)\b")
_NO_PUNCTUATION = str.maketrans("", "", string.punctuation)
AnswerSpans = Sequence[str]


def drop_golds(row: Mapping[str, Any]) -> list[tuple[str, ...]]:
    """All right answers of a row in the release's shape (`answer`, `validated_answers`), without those that repeat."""
    validated = row.get("validated_answers") or {}
    if isinstance(validated, Mapping):
        columns = (validated.get("number", ()), validated.get("date", ()), validated.get("spans", ()))
        alternatives = [{"number": n, "date": d, "spans": s} for n, d, s in zip(*columns, strict=True)]
    else:
        alternatives = list(validated)
    return list(dict.fromkeys(_spans_of(answer) for answer in (row["answer"], *alternatives)))


def _spans_of(answer: Mapping[str, Any]) -> tuple[str, ...]:
    if answer["number"] != "":
        return (str(answer["number"]),)
    if len(answer["spans"]):
        return tuple(answer["spans"])
    date = answer["date"]
    return (" ".join([date["day"], date["month"], date["year"]]).strip(),)


def grade_drop(answer: str | AnswerSpans, golds: Sequence[AnswerSpans]) -> AnswerVerdict:
    """F1, rounded to two decimals as upstream's, and exact match as a part `em`: the best over all gold answers."""
    spans = [answer] if isinstance(answer, str) else list(answer)
    scores = [drop_scores(spans, gold) for gold in golds if gold[0].strip()] or [(0.0, 0.0)]
    parts = {"em": max(em for em, _ in scores), "f1": max(f1 for _, f1 in scores)}
    extracted = "; ".join(map(normalize_drop, spans))
    return AnswerVerdict(parts["f1"], extracted, "" if parts["em"] else f"an answer is {list(golds[0])}", parts=parts)


def drop_scores(spans: AnswerSpans, gold: AnswerSpans) -> tuple[float, float]:
    """Exact match and F1 of the spans against those of one answer; the F1 of the best way to pair them, one to one."""
    predicted, gold_sets = [normalize_drop(span) for span in spans], [normalize_drop(span) for span in gold]
    exact = float(set(predicted) == set(gold_sets) and len(predicted) == len(gold_sets))
    return exact, round(_paired([set(p.split()) for p in predicted], [set(w.split()) for w in gold_sets]), 2)


def _paired(predicted: Sequence[set[str]], gold_sets: Sequence[set[str]]) -> float:
    import numpy as np
    from scipy.optimize import linear_sum_assignment

    scores = np.zeros((len(gold_sets), len(predicted)))
    for row, gold in enumerate(gold_sets):
        for column, bag in enumerate(predicted):
            scores[row, column] = _bag_f1(bag, gold) if _numbers_agree(gold, bag) else 0.0
    rows, columns = linear_sum_assignment(-scores)
    return float(scores[rows, columns].sum() / max(len(gold_sets), len(predicted)))


def _bag_f1(predicted: set[str], gold: set[str]) -> float:
    common = len(predicted & gold)
    precision = common / len(predicted) if predicted else 1.0
    recall = common / len(gold) if gold else 1.0
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0


def _numbers_agree(gold: set[str], predicted: set[str]) -> bool:
    """Whether the answer has one of the gold's numbers, where that has any."""
    numbers = {word for word in gold if _is_number(word)}
    return not numbers or bool(numbers & predicted)


def normalize_drop(text: str) -> str:
    """In lower case, without punctuation and articles, and numbers as floats; words part at blanks and hyphens."""
    words = (_normalize_word(word) for word in re.split(" |-", text))
    return " ".join(word for word in words if word)


def _normalize_word(word: str) -> str:
    word = word.lower()
    word = word if _is_number(word) else word.translate(_NO_PUNCTUATION)
    word = str(float(word)) if _is_number(word) else word
    return " ".join(_ARTICLES.sub(" ", word).split())


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
