"""Questions of the tests among what is to be learnt from."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Sequence

from herd.align.columns import Given
from herd.core.records import Conversation, Preference

_WORD = re.compile(r"\w+")
_RUN = 8  # words in a row
_SHARE = 0.5  # of a question's runs, from which on a row holds it
_COMMON = 0.1  # of all questions: a run that more of them have is their form and tells none apart

Run = tuple[str, ...]


class HeldOut:
    """What must not be learnt from: the last thing the user says in each of `asked`.

    A row holds a question when half of the question's runs of eight words stand in it; a shorter question when the user
    says it and nothing else. Source: Llama 3, 5.1.4 (runs of 8 tokens, and the share of an item that they cover);
    words in the place of tokens, so that it does not depend on a tokenizer.
    """

    def __init__(self, asked: Sequence[Conversation]) -> None:
        questions = [_words(said[-1]) for said in map(_said, asked) if said]
        self._short = {tuple(words) for words in questions if len(words) < _RUN}
        each = [_runs(words) for words in questions]
        often = Counter(run for runs in each for run in runs)
        most = max(2.0, _COMMON * len(each))
        self._of: defaultdict[Run, list[int]] = defaultdict(list)
        self._runs: list[int] = []
        for number, runs in enumerate(each):
            own = {run for run in runs if often[run] <= most}
            self._runs.append(len(own))
            for run in own:
                self._of[run].append(number)

    def within(self, row: Conversation | Preference) -> bool:
        """Whether a row holds one of the questions."""
        prompt = row if isinstance(row, Conversation) else row.prompt
        if any(tuple(_words(text)) in self._short for text in _said(prompt)):
            return True
        answers = () if isinstance(row, Conversation) else row.ranked
        texts = [message.content for one in (prompt.messages, *answers) for message in one]
        found = {run for text in texts for run in _runs(_words(text)) if run in self._of}
        held = Counter(number for run in found for number in self._of[run])
        return any(count >= _SHARE * self._runs[number] for number, count in held.items())


def without(given: Given, tests: HeldOut) -> None:
    """Takes rows that hold a question of the tests out of `given`, and counts them there."""
    rows = len(given.conversations) + len(given.preferences)
    given.conversations = [one for one in given.conversations if not tests.within(one)]
    given.preferences = [one for one in given.preferences if not tests.within(one)]
    out = rows - len(given.conversations) - len(given.preferences)
    given.rejected += Counter({"a question of the tests": out})


def _said(one: Conversation) -> list[str]:
    return [message.content for message in one.messages if message.role == "user"]


def _words(text: str) -> list[str]:
    return _WORD.findall(text.casefold())


def _runs(words: Sequence[str]) -> set[Run]:
    return {tuple(words[start : start + _RUN]) for start in range(len(words) - _RUN + 1)}
