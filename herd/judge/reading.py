"""Answers to questions about a text, or about the world: exact match and overlap of words."""

from __future__ import annotations

import re
import string
from collections import Counter
from collections.abc import Sequence
from typing import Literal

from herd.judge.extraction import ExactMatch
from herd.judge.verdict import AnswerVerdict

QUAC_NO_ANSWER = "CANNOTANSWER"
# Below this agreement of its annotators QuAC does not count a question. Source: Choi et al. 2018, section 4.2.
QUAC_MIN_HUMAN_F1 = 0.4
_ARTICLES = re.compile(r"\b(a|an|the)\b")
_NO_PUNCTUATION = str.maketrans("", "", string.punctuation)
_PUNCTUATION_TO_BLANKS = str.maketrans(dict.fromkeys(string.punctuation + "‘’´`", " "))
# lm-eval's rules for TriviaQA and NaturalQuestions, whose prompts end answers at a line, a full stop or a comma.
TRIVIAQA_MATCH = ExactMatch(ignore_case=True, ignore_punctuation=True)
NQ_MATCH = ExactMatch(True, True, (r"\b(?:The |the |An |A |The |a |an )",))


def normalize_span(text: str) -> str:
    """In lower case, without ASCII punctuation, articles and superfluous blanks.

    Source: Rajpurkar et al. 2016 (SQuAD), section 6.1; normalize_answer of evaluate-v2.0.py.
    """
    return " ".join(_ARTICLES.sub(" ", text.lower().translate(_NO_PUNCTUATION)).split())


def span_f1(prediction: str, gold: str) -> float:
    """Of the words of both, as bags; where one has none, whether both have none. Source: SQuAD's compute_f1."""
    words, gold_words = normalize_span(prediction).split(), normalize_span(gold).split()
    if not words or not gold_words:
        return float(words == gold_words)
    return _bag_f1(words, gold_words)


def _bag_f1(words: Sequence[str], gold_words: Sequence[str]) -> float:
    common = sum((Counter(words) & Counter(gold_words)).values())
    if common == 0:
        return 0.0
    precision, recall = common / len(words), common / len(gold_words)
    return 2 * precision * recall / (precision + recall)


def grade_squad(answer: str, golds: Sequence[str], *, no_answer: Sequence[str] = ()) -> AnswerVerdict:
    """Exact match, with F1 as a part; the best over all gold answers. A question without one is right when the answer
    is empty, or is one of the words of `no_answer`, such as `unanswerable`.

    Source: Rajpurkar et al. 2018 (SQuAD 2.0), evaluate-v2.0.py. There, and in lm-eval, no words stand for an empty
    answer.
    """
    golds = [gold for gold in golds if normalize_span(gold)] or [""]
    words = normalize_span(answer)
    if words in {normalize_span(word) for word in no_answer}:
        answer, words = "", ""
    exact = float(any(words == normalize_span(gold) for gold in golds))
    parts = {"exact": exact, "f1": max(span_f1(answer, gold) for gold in golds)}
    return AnswerVerdict(exact, words, "" if exact else f"the answer is {golds[0]!r}", parts=parts)


def grade_aliases(
    answer: str, aliases: Sequence[str], *, rules: Literal["triviaqa", "official", "nq_open", "nq_official"]
) -> AnswerVerdict:
    """Whether the answer is any of the aliases, by lm-eval's rules for `triviaqa` or `nq_open`, or by those of each
    benchmark's own release.

    Source: Joshi et al. 2017 (TriviaQA), triviaqa_evaluation.py; Lee et al. 2019 (NQ-open), which scores as SQuAD.
    """
    normalize = {
        "triviaqa": TRIVIAQA_MATCH.normalize,
        "official": _normalize_triviaqa,
        "nq_open": NQ_MATCH.normalize,
        "nq_official": normalize_span,
    }[rules]
    words = normalize(answer.strip())
    right = any(words == normalize(alias) for alias in aliases)
    return AnswerVerdict(float(right), words, "" if right else f"it is none of {list(aliases)[:5]}")


def _normalize_triviaqa(text: str) -> str:
    words = text.replace("_", " ").lower().translate(_PUNCTUATION_TO_BLANKS)
    return " ".join(_ARTICLES.sub(" ", words).split())


def grade_quac(
    answer: str,
    golds: Sequence[str],
    *,
    no_answer: Sequence[str] = (QUAC_NO_ANSWER,),
    yes_no: str = "",
    affirms: str = "",
    min_human_f1: float = QUAC_MIN_HUMAN_F1,
) -> AnswerVerdict:
    """F1 against the annotators' spans, each left out once, as a person's is; void where these agree too little.

    Where at least half of them say `CANNOTANSWER`, only the words of `no_answer` are right. yes_no: the annotators'
    `y`, `n` or `x` (neither), and affirms: the answer's, are compared as a part `yes_no`; `heq` is whether it does as
    well as people do.
    Source: Choi et al. 2018 (QuAC), section 4.2, and scorer.py.
    """
    unanswerable = sum(gold == QUAC_NO_ANSWER for gold in golds)
    spans = [gold for gold in golds if gold != QUAC_NO_ANSWER]
    references = [QUAC_NO_ANSWER] if unanswerable >= len(spans) else spans
    human = human_f1(references)
    if human < min_human_f1:
        return AnswerVerdict(None, answer, f"people agree on it with an F1 of {human:.2f}")
    answer = QUAC_NO_ANSWER if answer.strip() in no_answer else answer
    score = leave_one_out_f1(answer, references)
    parts = {"f1": score, "human_f1": human, "heq": float(score >= human)}
    if yes_no:
        parts["yes_no"] = float(affirms == yes_no)
    return AnswerVerdict(score, normalize_span(answer), parts=parts)


def human_f1(references: Sequence[str]) -> float:
    """What each annotator gets against the best of the others, on average; 1 for a single one."""
    if len(references) == 1:
        return 1.0
    best = [max(_quac_f1(gold, other) for other in _others(references, n)) for n, gold in enumerate(references)]
    return sum(best) / len(best)


def leave_one_out_f1(answer: str, references: Sequence[str]) -> float:
    """The best against all references but one, on average over which one that is."""
    if len(references) == 1:
        return _quac_f1(answer, references[0])
    best = [max(_quac_f1(answer, other) for other in _others(references, n)) for n in range(len(references))]
    return sum(best) / len(best)


def _others(references: Sequence[str], number: int) -> list[str]:
    return [*references[:number], *references[number + 1 :]]


def _quac_f1(prediction: str, gold: str) -> float:
    """As SQuAD 1's: 0 where no word is shared, also where both have none. That there is no answer is no word."""
    if gold == QUAC_NO_ANSWER:
        return float(prediction == gold)
    return _bag_f1(normalize_span(prediction).split(), normalize_span(gold).split())
