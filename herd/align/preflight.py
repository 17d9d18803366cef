"""What silently ruins a fine-tuning, found before it begins, and rows shown as a model will read them."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

from herd.align.columns import ParsedRows
from herd.align.contamination import HeldOutQuestions
from herd.core.errors import DataError
from herd.core.records import Conversation, Message, Preference
from herd.core.terminal import count_of, visible
from herd.tokens.chat import EncodedConversation, mask_runs
from herd.tokens.jinja import ChatTemplate
from herd.tokens.tokenizer import TextTokenizer
from herd.train.preferences import encode_answer

# A note about the model and not about rows: there is nothing to count.
_SAME_ID = (
    "the model pads with the token that ends an answer; harmless here, where padding is told by its place (trainers "
    "that leave out every token of that id never learn to end)"
)
_MOST_SOURCES = 8  # that are shown and counted by name
_LEARNT, _FORM, _PLAIN = "\x1b[32m", "\x1b[90m", "\x1b[0m"


@dataclass
class SourceTokens:
    """Of the rows of a source: how many, their tokens, and those of them that are learnt."""

    rows: int = 0
    tokens: int = 0
    learnt: int = 0


@dataclass
class PreflightReport:
    """faults: rows that must not be trained on, by what is wrong. notes: what is well to know, and harmless here.
    sources: what there is of each source."""

    rows: int = 0
    tokens: int = 0
    learnt: int = 0
    faults: Counter[str] = field(default_factory=Counter)
    notes: Counter[str] = field(default_factory=Counter)
    sources: dict[str, SourceTokens] = field(default_factory=dict)

    def refuse(self) -> None:
        """Raises DataError when a row must not be trained on."""
        if self.faults:
            summary = ", ".join(f"{count} {name}" for name, count in self.faults.most_common())
            raise DataError(
                f"{count_of(self.faults.total(), 'fault')} in {count_of(self.rows, 'row')}: {summary}; mend or drop "
                "these rows"
            )


def inspect_rows(
    parsed: ParsedRows,
    chat_template: ChatTemplate,
    tokenizer: TextTokenizer,
    context: int,
    tests: HeldOutQuestions | None = None,
    *,
    include_eos: bool = True,
) -> PreflightReport:
    """Every row as it would be trained on. include_eos: whether what ends the answers of a preference is learnt too, as
    DPO has it.

    Faults: nothing is learnt; what opens a text stands there twice; an answer that does not end; a question of `tests`;
    what the format has no words for, such as tools. Notes: rows longer than `context`, control tokens that a text
    spells out (they are read as plain text), rows that occur again, and a model that pads with what ends an
    answer.
    """
    report, row_keys = PreflightReport(), set()
    # One search of a text for all of them: there are hundreds, and thousands of texts.
    spelled_token = re.compile("|".join(map(re.escape, tokenizer.control_tokens)) or r"(?!)")
    if tokenizer.pad_id in tokenizer.stop_token_ids:
        report.notes[_SAME_ID] = 1
    for row in (*parsed.conversations, *parsed.preferences):
        report.rows += 1
        own = report.sources.setdefault(row_source(row), SourceTokens())
        own.rows += 1
        try:
            read = list(_encoded(row, chat_template))
        except DataError as fault:
            report.faults[f"that the chat format cannot write ({fault})"] += 1
            continue
        for messages, encoded in read:
            own.tokens += len(encoded)
            counted = encoded if include_eos or isinstance(row, Conversation) else _without_eos(encoded)
            own.learnt += sum(counted.loss_mask)
            report.faults.update(_faults(encoded, tokenizer))
            report.notes[f"longer than {context:,} tokens, which training drops"] += len(encoded) > context
            if any(spelled_token.search(message.content) for message in messages):
                report.notes["spelling out control tokens"] += 1
        report.faults["holding a question of the tests"] += tests is not None and tests.occurs_in(row)
        key = row.messages if isinstance(row, Conversation) else (row.prompt.messages, row.ranked_answers)
        report.notes["said before"] += repr(key) in row_keys
        row_keys.add(repr(key))
    report.notes, report.faults = +report.notes, +report.faults
    report.tokens = sum(own.tokens for own in report.sources.values())
    report.learnt = sum(own.learnt for own in report.sources.values())
    return report


def row_source(row: Conversation | Preference) -> str:
    """The source of a row; of a preference that of its prompt."""
    return row.source if isinstance(row, Conversation) else row.prompt.source


def check_trainable(
    parsed: ParsedRows, chat_template: ChatTemplate, tokenizer: TextTokenizer, context: int
) -> dict[str, int]:
    """What is well to know of rows. Raises DataError, before anything is computed, when one must not be trained on."""
    report = inspect_rows(parsed, chat_template, tokenizer, context)
    report.refuse()
    return dict(report.notes)


def _encoded(
    row: Conversation | Preference, chat_template: ChatTemplate
) -> Iterator[tuple[Sequence[Message], EncodedConversation]]:
    """A conversation, or every answer of a preference with its prompt before it."""
    if isinstance(row, Conversation):
        yield row.messages, chat_template.encode(row)
        return
    for answer in row.ranked_answers:
        yield (*row.prompt.messages, *answer), encode_answer(row, answer, chat_template)


def _without_eos(encoded: EncodedConversation) -> EncodedConversation:
    """As DPO learns an answer: its words, and nothing of its form."""
    words = [learnt and not form for learnt, form in zip(encoded.loss_mask, encoded.format_mask, strict=True)]
    return replace(encoded, loss_mask=words)


def _faults(encoded: EncodedConversation, tokenizer: TextTokenizer) -> Iterator[str]:
    if not any(encoded.loss_mask):
        yield "with nothing to learn"
    elif (
        encoded.ids[max(place for place, learnt in enumerate(encoded.loss_mask) if learnt)]
        not in tokenizer.stop_token_ids
    ):
        yield "without an ending"
    if tokenizer.opening and encoded.ids.count(tokenizer.bos_id) > 1:
        yield "opened twice"


def render_row(
    row: Conversation | Preference, chat_template: ChatTemplate, tokenizer: TextTokenizer, *, colour: bool,
    include_eos: bool = True,
) -> Iterator[str]:  # fmt: skip
    """A row's text with control tokens spelled out: what is learnt in green, or between » and «; the form in grey.
    include_eos: as `inspect_rows` has it."""
    names = ("",) if isinstance(row, Conversation) else ("best", "next", "last")
    try:
        read = list(_encoded(row, chat_template))
    except DataError as fault:
        yield f"cannot be written: {visible(str(fault))}"
        return
    for name, (_, encoded) in zip(names, read, strict=False):
        if name:
            yield f"-- {name} --"
        shown = encoded if include_eos or not name else _without_eos(encoded)
        yield "".join(_words(shown, tokenizer, colour))


def _words(encoded: EncodedConversation, tokenizer: TextTokenizer, colour: bool) -> Iterator[str]:
    for learn, is_format, ids in mask_runs(encoded):
        words = visible(tokenizer.show(ids).replace("\r\n", "\n"))
        if colour and (learn or is_format):
            yield f"{_LEARNT if learn else _FORM}{words}{_PLAIN}"
        else:
            yield f"»{words}«" if learn else words


def preview_lines(
    parsed: ParsedRows, chat_template: ChatTemplate, tokenizer: TextTokenizer, *, rows: int, colour: bool,
    include_eos: bool = True,
) -> Iterator[str]:  # fmt: skip
    """The first rows; of several sources at least one of each, up to eight, with its name above it."""
    all_rows = (*parsed.conversations, *parsed.preferences)
    firsts: dict[str, int] = {}
    for number, row in enumerate(all_rows):
        firsts.setdefault(row_source(row), number)
    shown = dict.fromkeys([*firsts.values()][:_MOST_SOURCES] if rows and len(firsts) > 1 else ())
    shown |= dict.fromkeys(range(min(rows - len(shown), len(all_rows))))
    for number in sorted(shown):
        row = all_rows[number]
        if len(firsts) > 1:
            yield f"-- {visible(row_source(row)) or 'no source named'} --"
        yield from render_row(row, chat_template, tokenizer, colour=colour, include_eos=include_eos)
        yield ""


def report_lines(parsed: ParsedRows, report: PreflightReport) -> Iterator[str]:
    """What was found in all rows, those left out among them."""
    totals = f"{count_of(len(parsed.conversations), 'conversation')}, {count_of(len(parsed.preferences), 'preference')}"
    yield f"{totals}; {report.tokens:,} tokens, {report.learnt / max(1, report.tokens):.0%} of them learnt"
    yield from _source_lines(report)
    for reason, count in parsed.rejected.most_common():
        number, example = parsed.examples[reason]
        yield f"left out: {count:,} with {reason}, such as row {number}: {example}"
    for name, count in report.faults.most_common():
        yield f"fault: {count_of(count, 'text')} {name}"
    for name, count in report.notes.most_common():
        yield "note: " + (name if name == _SAME_ID else f"{count_of(count, 'text')} {name}")


def _source_lines(report: PreflightReport) -> Iterator[str]:
    """What there is of each source, the largest first; nothing of a single one."""
    if len(report.sources) < 2:
        return
    by_size = sorted(report.sources.items(), key=lambda pair: -pair[1].tokens)
    for name, own in by_size[:_MOST_SOURCES]:
        title, share = visible(name) or "no source named", own.tokens / max(1, report.tokens)
        yield (
            f"    {title}: {count_of(own.rows, 'row')}, {own.tokens:,} tokens ({share:.0%} of all), "
            f"{own.learnt / max(1, own.tokens):.0%} of them learnt"
        )
    if len(by_size) > _MOST_SOURCES:
        yield f"    and {count_of(len(by_size) - _MOST_SOURCES, 'source')} more"
