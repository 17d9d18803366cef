"""What silently ruins a fine-tuning, found before it begins, and rows shown as a model will read them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from herd.align.columns import Given
from herd.align.contamination import HeldOut
from herd.core.errors import DataError
from herd.core.records import Conversation, Message, Preference
from herd.core.terminal import visible
from herd.tokens.chat import Encoded, runs
from herd.tokens.jinja import Chat
from herd.tokens.tokenizer import TextTokenizer
from herd.train.ranked import encode_answer

_LEARNT, _FORM, _PLAIN = "\x1b[32m", "\x1b[90m", "\x1b[0m"


@dataclass
class Examined:
    """faults: rows that must not be trained on, by what is wrong. notes: what is well to know, and harmless here."""

    rows: int = 0
    tokens: int = 0
    learnt: int = 0
    faults: Counter[str] = field(default_factory=Counter)
    notes: Counter[str] = field(default_factory=Counter)

    def refuse(self) -> None:
        """Raises DataError when a row must not be trained on."""
        if self.faults:
            found = ", ".join(f"{count} {name}" for name, count in self.faults.most_common())
            raise DataError(f"{sum(self.faults.values())} faults in {self.rows} rows: {found}; mend or drop these rows")


def examine(given: Given, form: Chat, text: TextTokenizer, context: int, tests: HeldOut | None = None) -> Examined:
    """Every row as it would be trained on.

    Faults: nothing is learnt; what opens a text stands there twice; an answer that does not end; a question of `tests`;
    what the format has no words for, such as tools. Notes: rows longer than `context`, control tokens that a text
    spells out (they are read as plain text), rows that occur again, and a padding that is also an ending (harmless
    here, where places are masked; trainers that mask by id lose endings).
    """
    found, seen = Examined(), set()
    if text.pad in text.stops:
        found.notes["padding is also an ending"] = 1
    for row in (*given.conversations, *given.preferences):
        found.rows += 1
        try:
            read = list(_encoded(row, form))
        except DataError as fault:
            found.faults[f"that the chat format cannot write ({fault})"] += 1
            continue
        for messages, encoded in read:
            found.tokens += len(encoded)
            found.learnt += sum(encoded.learn)
            found.faults.update(_faults(encoded, text))
            found.notes[f"longer than {context:,} tokens, which training drops"] += len(encoded) > context
            if any(token in one.content for one in messages for token in text.control_tokens):
                found.notes["spelling out control tokens"] += 1
        found.faults["holding a question of the tests"] += tests is not None and tests.within(row)
        key = row.messages if isinstance(row, Conversation) else (row.prompt.messages, row.ranked)
        found.notes["said before"] += repr(key) in seen
        seen.add(repr(key))
    found.notes, found.faults = +found.notes, +found.faults
    return found


def check(given: Given, form: Chat, text: TextTokenizer, context: int) -> dict[str, int]:
    """What is well to know of rows. Raises DataError, before anything is computed, when one must not be trained on."""
    found = examine(given, form, text, context)
    found.refuse()
    return dict(found.notes)


def _encoded(row: Conversation | Preference, form: Chat) -> Iterator[tuple[Sequence[Message], Encoded]]:
    """A conversation, or every answer of a preference with its prompt before it."""
    if isinstance(row, Conversation):
        yield row.messages, form.conversation(row)
        return
    for answer in row.ranked:
        yield (*row.prompt.messages, *answer), encode_answer(row, answer, form)


def _faults(encoded: Encoded, text: TextTokenizer) -> Iterator[str]:
    if not any(encoded.learn):
        yield "with nothing to learn"
    elif encoded.ids[max(place for place, learnt in enumerate(encoded.learn) if learnt)] not in text.stops:
        yield "without an ending"
    if text.opening and encoded.ids.count(text.begin) > 1:
        yield "opened twice"


def shown(row: Conversation | Preference, form: Chat, text: TextTokenizer, *, colour: bool) -> Iterator[str]:
    """A row's text with control tokens spelled out: what is learnt in green, or between » and «; the form in grey."""
    names = ("",) if isinstance(row, Conversation) else ("best", "next", "last")
    try:
        read = list(_encoded(row, form))
    except DataError as fault:
        yield f"cannot be written: {visible(str(fault))}"
        return
    for name, (_, encoded) in zip(names, read, strict=False):
        if name:
            yield f"-- {name} --"
        yield "".join(_words(encoded, text, colour))


def _words(encoded: Encoded, text: TextTokenizer, colour: bool) -> Iterator[str]:
    for learn, kept, ids in runs(encoded):
        words = visible(text.show(ids).replace("\r\n", "\n"))
        if colour and (learn or kept):
            yield f"{_LEARNT if learn else _FORM}{words}{_PLAIN}"
        else:
            yield f"»{words}«" if learn else words


def lines(given: Given, form: Chat, text: TextTokenizer, *, rows: int, colour: bool) -> Iterator[str]:
    """The first rows."""
    for row in (*given.conversations, *given.preferences)[:rows]:
        yield from shown(row, form, text, colour=colour)
        yield ""


def found_lines(given: Given, found: Examined) -> Iterator[str]:
    """What was found in all rows, those left out among them."""
    kept = f"{len(given.conversations):,} conversations, {len(given.preferences):,} preferences"
    yield f"{kept}; {found.tokens:,} tokens, {found.learnt / max(1, found.tokens):.0%} of them learnt"
    for reason, count in given.rejected.most_common():
        number, example = given.first[reason]
        yield f"left out: {count:,} with {reason}, such as row {number}: {example}"
    for name, count in found.faults.most_common():
        yield f"fault: {count:,} {name}"
    for name, count in found.notes.most_common():
        yield f"note: {count:,} {name}"
