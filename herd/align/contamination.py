"""Questions of the tests among what is to be learnt from."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Sequence
from itertools import chain

from herd.align.columns import ParsedRows
from herd.core.records import Conversation, Preference

_WORD = re.compile(r"\w+")
_NGRAM = 8  # words in a row
_SHARE = 0.5  # of a question's runs, from which on a row holds it
_COMMON = 0.1  # of all questions: a run that more of them have is their form and tells none apart

Ngram = tuple[str, ...]


class HeldOutQuestions:
    """What must not be learnt from: the last thing the user says in each of `prompts`.

    A row holds a question when half of the question's runs of eight words stand in it; a shorter question when the user
    says it and nothing else. Source: Llama 3, 5.1.4 (runs of 8 tokens, and the share of an item that they cover);
    words in the place of tokens, so that it does not depend on a tokenizer. others: prompts beside these, from which it
    is told too what is the form of prompts and not a question's own.
    """

    def __init__(self, prompts: Sequence[Conversation], others: Sequence[Conversation] = ()) -> None:
        questions = [_words(user_texts[-1]) for user_texts in map(_user_texts, prompts) if user_texts]
        self._short = {tuple(words) for words in questions if len(words) < _NGRAM}
        question_ngrams = [_ngrams(words) for words in questions]
        other_ngrams = (_ngrams(_words(user_texts[-1])) for user_texts in map(_user_texts, others) if user_texts)
        often = Counter(chain.from_iterable(chain(question_ngrams, other_ngrams)))
        max_questions = max(2.0, _COMMON * (len(question_ngrams) + len(others)))
        self._questions_by_ngram: defaultdict[Ngram, list[int]] = defaultdict(list)
        self._ngram_counts: list[int] = []
        for number, ngrams in enumerate(question_ngrams):
            own = {ngram for ngram in ngrams if often[ngram] <= max_questions}
            self._ngram_counts.append(len(own))
            for ngram in own:
                self._questions_by_ngram[ngram].append(number)

    def occurs_in(self, row: Conversation | Preference) -> bool:
        """Whether a row holds one of the questions."""
        prompt = row if isinstance(row, Conversation) else row.prompt
        if any(tuple(_words(text)) in self._short for text in _user_texts(prompt)):
            return True
        answers = () if isinstance(row, Conversation) else row.ranked_answers
        hits: set[Ngram] = set()
        for message in chain(prompt.messages, *answers):
            ngrams = _ngrams(_words(message.content))
            hits |= {ngram for ngram in ngrams if ngram in self._questions_by_ngram}
        counts = Counter(chain.from_iterable(self._questions_by_ngram[ngram] for ngram in hits))
        return any(count >= _SHARE * self._ngram_counts[number] for number, count in counts.items())


def drop_contaminated(parsed: ParsedRows, tests: HeldOutQuestions) -> None:
    """Takes rows that hold a question of the tests out of `parsed`, and counts them there."""
    rows = len(parsed.conversations) + len(parsed.preferences)
    parsed.conversations = [conversation for conversation in parsed.conversations if not tests.occurs_in(conversation)]
    parsed.preferences = [preference for preference in parsed.preferences if not tests.occurs_in(preference)]
    out = rows - len(parsed.conversations) - len(parsed.preferences)
    parsed.rejected += Counter({"a question of the tests": out})


def _user_texts(conversation: Conversation) -> list[str]:
    return [message.content for message in conversation.messages if message.role == "user"]


def _words(text: str) -> list[str]:
    return _WORD.findall(text.casefold())


def _ngrams(words: Sequence[str]) -> set[Ngram]:
    return {tuple(words[start : start + _NGRAM]) for start in range(len(words) - _NGRAM + 1)}
