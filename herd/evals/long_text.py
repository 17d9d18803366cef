"""Questions about texts that may be longer than a model reads: what is cut, and that it is told."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from herd.core.errors import DataError
from herd.core.records import Conversation, Message
from herd.core.terminal import count_of
from herd.evals.sized import PromptReader, SizedTask
from herd.evals.task import Example, Generate, Grade, ModelAnswer, Prompt, Task

# What is done with a text that a model does not read as a whole.
Truncation = Literal["middle", "left", "right", "refuse"]
LongTextMatch = Callable[[str, Sequence[str]], float]


@dataclass(frozen=True)
class LongQuestion:
    """A text, what stands before and after it in the prompt, and the references of an answer. response_prefix: what the
    answer begins with."""

    id: str
    before: str
    text: str
    after: str
    references: tuple[str, ...]
    response_prefix: str = ""

    def prompt(self, text: str) -> Prompt:
        """With another text in its place."""
        words = f"{self.before}{text}{self.after}"
        return Prompt(Conversation((Message("user", words),), self.id), words, response_prefix=self.response_prefix)


def cut_text(question: LongQuestion, reader: PromptReader, room: int, truncation: Truncation) -> tuple[str, bool]:
    """The text, with so many tokens of its middle, start or end left out that the prompt takes no more than `room`, and
    whether any were. The question stays whole.

    Raises DataError where the prompt without the text does not fit.
    """
    text = question.text
    # A token is a byte or more, but for what opens a prompt.
    if len(f"{question.before}{text}{question.after}{question.response_prefix}".encode()) + 64 <= room:
        return text, False
    excess = reader.count(question.prompt(text)) - room
    if excess <= 0:
        return text, False
    ids = reader.tokenizer.encode(text)
    # Cutting may part a character or a word, whose pieces take more tokens than they did together.
    while len(ids) > excess:
        shortened = _cut(reader, ids, len(ids) - excess, truncation)
        over = reader.count(question.prompt(shortened)) - room
        if over <= 0:
            return shortened, True
        excess += over
    raise DataError(f"question {question.id!r} leaves no room for its text in {room:,} tokens; leave it out")


def _cut(reader: PromptReader, ids: Sequence[int], keep: int, truncation: Truncation) -> str:
    """`keep` ids of a text, as text; the halves of a character that was parted are left out."""
    decode = reader.tokenizer.decode
    if truncation == "left":
        return decode(ids[len(ids) - keep :]).lstrip("\ufffd")
    if truncation == "right":
        return decode(ids[:keep]).rstrip("\ufffd")
    first = keep // 2
    return decode(ids[:first]).rstrip("\ufffd") + decode(ids[len(ids) - (keep - first) :]).lstrip("\ufffd")


def _check_fits(question: LongQuestion, reader: PromptReader, room: int) -> None:
    tokens = reader.count(question.prompt(question.text))
    if tokens > room:
        raise DataError(
            f"question {question.id!r} takes {tokens:,} tokens and has {room:,}; set truncate to what may be left out"
        )


def long_text_task(
    questions: Sequence[LongQuestion], match: LongTextMatch, *, max_tokens: int, truncation: Truncation,
    max_prompt_tokens: int = 0, stop: tuple[str, ...] = (),
) -> SizedTask:  # fmt: skip
    """Questions graded by `match` of an answer with its references. truncation: of texts that are too long, `refuse`
    refuses the task. max_prompt_tokens: that a prompt may take; as many as the model reads beside the answer when 0."""
    by_id = {question.id: question for question in questions}

    def build(reader: PromptReader) -> Task:
        room = min(max_prompt_tokens or reader.max_seq_len, reader.max_seq_len - max_tokens)
        texts: dict[str, str] = {}
        for question in questions:
            if truncation == "refuse":
                _check_fits(question, reader, room)
                continue
            text, was_cut = cut_text(question, reader, room, truncation)
            if was_cut:
                texts[question.id] = text
        notes = ()
        if texts:
            part = {"middle": "the middle", "left": "the start", "right": "the end"}[truncation]
            notes = (f"{len(texts):,} of {count_of(len(questions), 'text')} lost {part}, to fit {room:,} tokens",)

        def prompt_for(example: Example) -> Prompt:
            question = by_id[example.id]
            return question.prompt(texts.get(example.id, question.text))

        def grade(example: Example, response: ModelAnswer) -> Grade:
            references = by_id[example.id].references
            score = match(response.text, references)
            return Grade(score, response.text.strip(), f"the answer is {' or '.join(references)}"[:500])

        examples = [Example(question.id) for question in questions]
        return Task(examples, prompt_for, Generate(max_tokens, stop), grade, notes=notes)

    return SizedTask(build)
