"""Batches of answers to one prompt, ranked: for reward models and for preference losses."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Tensor

from herd.core.errors import DataError
from herd.core.records import Message, Preference
from herd.tokens.chat import Encoded
from herd.tokens.jinja import Chat
from herd.train.batches import IGNORED, PADDING
from herd.train.rows import Piece, fill, generator


@dataclass(frozen=True)
class Ranked:
    """Answers to one prompt, best first, each with the prompt before it. number: its place among all kept; row: its
    place among all that were given. prompt: how many tokens the prompt has."""

    number: int
    row: int
    prompt: int
    answers: tuple[Encoded, ...]

    @property
    def longest(self) -> int:
        return max(map(len, self.answers))

    @property
    def together(self) -> int:
        """Tokens of the prompt and of all answers after it."""
        return self.prompt + sum(len(answer) - self.prompt for answer in self.answers)


@dataclass(frozen=True)
class Packed:
    """Answers in rows, each [R, T], numbered in the order of their ranks, prompt after prompt.

    tokens_RT: ids. documents_RT: tokens of one number see each other. targets_RT: the next id where it is an answer's
    own, no header, and an ending only where that was asked for, else IGNORED. answers_N: which answer each target is
    of, row by row. ends_A: where each answer ends, counted along the rows. counts: answers of each prompt. branches_RT:
    which of a shared prompt's answers a token is of, from 1 on; 0 in prompts, and everywhere when none is shared.
    """

    tokens_RT: Tensor
    documents_RT: Tensor
    branches_RT: Tensor
    targets_RT: Tensor
    answers_N: Tensor
    ends_A: Tensor
    counts: tuple[int, ...]

    @property
    def looked_at(self) -> Tensor | None:
        """The documents as attention wants them: None when each row holds one."""
        first = self.documents_RT[:, :1]
        alone = (self.documents_RT == first) | (self.documents_RT == PADDING)
        return None if bool(alone.all()) else self.documents_RT

    def sums(self, each_N: Tensor) -> Tensor:
        """What targets have, summed over each answer: [A]."""
        return each_N.new_zeros(len(self.ends_A)).index_add(0, self.answers_N, each_N)

    @property
    def lengths(self) -> Tensor:
        """How many targets each answer has: [A]."""
        return torch.bincount(self.answers_N, minlength=len(self.ends_A))


@dataclass(frozen=True)
class RankedBatch:
    """Ranked answers of a step. length: the most tokens of a row. shared: each prompt stands once, before all of its
    answers; `seed` draws their order. endings: what ends an answer is a target too."""

    ranked: tuple[Ranked, ...]
    pad: int
    length: int
    shared: bool = False
    seed: int = 0
    endings: bool = False
    device: torch.device | str = "cpu"

    @property
    def weight(self) -> float:
        return float(len(self.ranked))

    @property
    def numbers(self) -> list[int]:
        return [one.number for one in self.ranked]

    def parts(self, count: int) -> list[RankedBatch]:
        size = -(-len(self.ranked) // count)
        return [replace(self, ranked=self.ranked[start : start + size]) for start in range(0, len(self.ranked), size)]

    def to(self, device: torch.device) -> RankedBatch:
        return replace(self, device=device)

    @cached_property
    def packed(self) -> Packed:
        """The answers in as few and short rows as they fit into: none is cut, and little is padding."""
        documents = list(self._documents())
        rows = _rows([len(document) for document, _ in documents], self.length)
        width = max(sum(piece.count for piece in row) for row in rows)
        tokens_RT = torch.full((len(rows), width), self.pad)
        documents_RT = torch.full((len(rows), width), PADDING)
        targets_RT = torch.full((len(rows), width), IGNORED)
        answers_RT, branches_RT = (torch.zeros((len(rows), width), dtype=torch.long) for _ in range(2))
        counts = tuple(len(one.answers) for one in self.ranked)
        ends = [0] * sum(counts)
        for number, row in enumerate(rows):
            at = 0
            for piece in row:
                document, spans = documents[piece.document]
                ids = torch.tensor(document.ids)
                own = torch.tensor(document.learn) & ~(torch.tensor(document.format) & (not self.endings))
                place = slice(at, at + len(document))
                tokens_RT[number, place], documents_RT[number, place] = ids, piece.document
                targets_RT[number, at : at + len(document) - 1] = torch.where(own, ids, IGNORED)[1:]
                for branch, (answer, start, end) in enumerate(spans, start=1):
                    if self.shared:
                        branches_RT[number, at + start : at + end] = branch
                    # The place before a token is the one that foretells it.
                    answers_RT[number, at + max(0, start - 1) : at + end - 1] = answer
                    ends[answer] = number * width + at + end - 1
                at += len(document)
        kept = targets_RT != IGNORED
        return Packed(
            tokens_RT.to(self.device),
            documents_RT.to(self.device),
            branches_RT.to(self.device),
            targets_RT.to(self.device),
            answers_RT[kept].to(self.device),
            torch.tensor(ends, device=self.device),
            counts,
        )

    def _documents(self) -> Iterator[tuple[Encoded, list[tuple[int, int, int]]]]:
        """What sees itself alone, and where in it each answer lies: its number, start and end."""
        first = 0
        for one in self.ranked:
            numbers = range(first, first + len(one.answers))
            first += len(one.answers)
            if not self.shared:
                for number, answer in zip(numbers, one.answers, strict=True):
                    yield answer, [(number, one.prompt, len(answer))]
                continue
            document, spans = _part(one.answers[0], 0, one.prompt), []
            for slot in generator(self.seed, "slots", one.number).permutation(len(one.answers)).tolist():
                start = len(document)
                document += _part(one.answers[slot], one.prompt, None)
                spans.append((numbers[slot], start, len(document)))
            yield document, spans


def _part(encoded: Encoded, start: int, end: int | None) -> Encoded:
    return Encoded(encoded.ids[start:end], encoded.learn[start:end], encoded.format[start:end])


# Tokens: what attention costs on a CPU grows with the square of a row, whose documents do not see each other.
_WIDEST = 1024


def _rows(lengths: Sequence[int], most: int) -> list[tuple[Piece, ...]]:
    """Documents in rows of at most `most` tokens, or of `_WIDEST` where none is longer: in so few rows as they fit
    into, and those of about one length."""
    pieces = [Piece(number, 0, length) for number, length in enumerate(lengths)]
    room, longest = max(min(most, _WIDEST), *lengths), max(lengths)
    count = len(fill(pieces, room))
    width = max(longest, -(-sum(lengths) // count))
    while width < room:
        rows = fill(pieces, width)
        if len(rows) <= count:
            return rows
        width += max(1, width // 50)
    return fill(pieces, room)


@dataclass(frozen=True)
class Kept:
    """Ranked answers that fit, and how many prompts were left out because one did not, or all say the same."""

    ranked: list[Ranked]
    too_long: int
    alike: int


def encode_ranked(
    preferences: Sequence[Preference], form: Chat, *, context: int, most: int | None = None, shared: bool = False
) -> Kept:
    """The answers of each preference, or the best `most` of them. shared: a prompt and all its answers are one row.

    What is longer than `context` is left out, never cut. Raises DataError when nothing is left.
    """
    found: list[Ranked] = []
    too_long = alike = 0
    for row, preference in enumerate(preferences):
        encoded = [encode_answer(preference, answer, form) for answer in preference.ranked[:most]]
        answers = {tuple(one.ids): one for one in encoded}
        one = Ranked(len(found), row, _prompt(preference, form, list(answers.values())), tuple(answers.values()))
        if len(one.answers) < 2:
            alike += 1
        elif (one.together if shared else one.longest) > context:
            too_long += 1
        else:
            found.append(one)
    if not found:
        raise DataError(
            f"none of {len(preferences)} preferences is left: {too_long} are longer than {context} tokens, of {alike} "
            "the answers are alike; lengthen the context, or give other rows"
        )
    return Kept(found, too_long, alike)


def mismatched(ranked: Sequence[Ranked], context: int) -> dict[int, Ranked]:
    """By its number each prompt with the answers to another one: the nearest before it (before the first stands the
    last) that asks something else, and whose answers fit into `context` here. Prompts that have none are left out.
    """
    found: dict[int, Ranked] = {}
    for place, one in enumerate(ranked):
        prompt = _part(one.answers[0], 0, one.prompt)
        for other in (ranked[place - back] for back in range(1, len(ranked))):
            fits = one.prompt + other.longest - other.prompt <= context
            if fits and other.answers[0].ids[: other.prompt] != prompt.ids:
                answers = [_part(answer, other.prompt, None) for answer in other.answers]
                found[one.number] = replace(one, answers=tuple(prompt + answer for answer in answers))
                break
    return found


def encode_answer(preference: Preference, answer: tuple[Message, ...], form: Chat) -> Encoded:
    """The prompt, of which nothing is learnt, and an answer to it."""
    prompt = preference.prompt
    silent = tuple(replace(message, learn=False) for message in prompt.messages)
    return form.conversation(replace(prompt, messages=silent).then(*answer))


def _prompt(preference: Preference, form: Chat, answers: Sequence[Encoded]) -> int:
    """How many tokens all answers have in common because the prompt has them. A template may write a prompt that is
    answered in another way than one that is not: then what is not learnt."""
    ids = form.conversation(preference.prompt).ids
    if all(answer.ids[: len(ids)] == ids for answer in answers):
        return len(ids)
    return min(answer.learn.index(True) if any(answer.learn) else 0 for answer in answers)


class RankedBatches:
    """`epochs` passes over ranked answers, in an order of its own each time, `size` prompts a step."""

    def __init__(
        self,
        ranked: Sequence[Ranked],
        *,
        size: int,
        epochs: int,
        seed: int,
        pad: int,
        length: int,
        shared: bool = False,
        endings: bool = False,
    ) -> None:
        self.ranked, self.size, self.seed = ranked, min(size, len(ranked)), seed
        self.pad, self.length, self.shared, self.endings = pad, length, shared, endings
        self.per_epoch = len(ranked) // self.size
        self.epochs = epochs

    def __len__(self) -> int:
        return self.epochs * self.per_epoch

    def batch(self, step: int) -> RankedBatch:
        epoch, place = divmod(step, self.per_epoch)
        order = generator(self.seed, "pairs", epoch).permutation(len(self.ranked))
        picked = tuple(self.ranked[n] for n in order[place * self.size : (place + 1) * self.size])
        return RankedBatch(picked, self.pad, self.length, self.shared, self.seed + epoch, self.endings)


def in_turn(
    ranked: Sequence[Ranked],
    *,
    pad: int,
    length: int,
    shared: bool = False,
    endings: bool = False,
    size: int = 32,
) -> Iterator[RankedBatch]:
    """All of them once, in order: for measuring."""
    for start in range(0, len(ranked), size):
        yield RankedBatch(tuple(ranked[start : start + size]), pad, length, shared, endings=endings)
