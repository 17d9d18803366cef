"""Batches of answers to one prompt, ranked: for reward models and for preference losses."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from herd.core.errors import DataError
from herd.core.records import Message, Preference
from herd.tokens.chat import ChatFormat, Encoded
from herd.train.batches import generator


@dataclass(frozen=True)
class Answers:
    """One answer to each prompt of a batch, padded at the end, each [B, T].

    content_BT: whether a token is the answer's own: no header, no ending. last_B: where the answer ends.
    """

    tokens_BT: Tensor
    content_BT: Tensor
    last_B: Tensor

    def to(self, device: torch.device) -> Answers:
        return Answers(self.tokens_BT.to(device), self.content_BT.to(device), self.last_B.to(device))


@dataclass(frozen=True)
class Pair:
    """A better and a worse answer to one prompt, as ids. number: its place among all pairs."""

    number: int
    better: Encoded
    worse: Encoded


@dataclass(frozen=True)
class PairBatch:
    """Better and worse answers row by row. numbers_B: which pair each row is."""

    better: Answers
    worse: Answers
    numbers_B: Tensor

    @property
    def weight(self) -> float:
        return float(len(self.numbers_B))

    def parts(self, count: int) -> list[PairBatch]:
        size = -(-len(self.numbers_B) // count)
        return [self.rows(slice(start, start + size)) for start in range(0, len(self.numbers_B), size)]

    def rows(self, some: slice) -> PairBatch:
        return PairBatch(_rows(self.better, some), _rows(self.worse, some), self.numbers_B[some])

    def to(self, device: torch.device) -> PairBatch:
        return PairBatch(self.better.to(device), self.worse.to(device), self.numbers_B.to(device))


def _rows(answers: Answers, rows: slice) -> Answers:
    return Answers(answers.tokens_BT[rows], answers.content_BT[rows], answers.last_B[rows])


def encode_pairs(preferences: Sequence[Preference], form: ChatFormat, *, every: bool, context: int) -> list[Pair]:
    """The pairs of `preferences`. every: all pairs of three ranked answers, or only the best two.

    Pairs longer than `context` are left out. Raises DataError when none is left.
    """
    pairs: list[Pair] = []
    for preference in preferences:
        rows = [encode_answer(preference, answer, form) for answer in preference.ranked]
        chosen = [(a, b) for a in range(len(rows)) for b in range(a + 1, len(rows))] if every else [(0, 1)]
        for better, worse in chosen:
            if max(len(rows[better]), len(rows[worse])) <= context:
                pairs.append(Pair(len(pairs), rows[better], rows[worse]))
    if not pairs:
        raise DataError(f"none of {len(preferences)} preferences fits into {context} tokens; lengthen the context")
    return pairs


def encode_answer(preference: Preference, answer: tuple[Message, ...], form: ChatFormat) -> Encoded:
    """The prompt, of which nothing is learnt, and an answer to it."""
    encoded = form.conversation(preference.prompt)
    silent = Encoded(encoded.ids, [False] * len(encoded), encoded.format)
    for message in answer:
        silent += form.message(message)
    return silent


class PairBatches:
    """`epochs` passes over the pairs, in an order of its own each time, `size` pairs a step."""

    def __init__(self, pairs: Sequence[Pair], *, size: int, epochs: int, seed: int, pad: int) -> None:
        self.pairs, self.size, self.seed, self.pad = pairs, min(size, len(pairs)), seed, pad
        self.per_epoch = len(pairs) // self.size
        self.epochs = epochs

    def __len__(self) -> int:
        return self.epochs * self.per_epoch

    def batch(self, step: int) -> PairBatch:
        epoch, place = divmod(step, self.per_epoch)
        order = generator(self.seed, "pairs", epoch).permutation(len(self.pairs))
        return collate_pairs([self.pairs[n] for n in order[place * self.size : (place + 1) * self.size]], self.pad)


def collate_pairs(pairs: Sequence[Pair], pad: int) -> PairBatch:
    longest = max(max(len(pair.better), len(pair.worse)) for pair in pairs)
    return PairBatch(
        collate_answers([pair.better for pair in pairs], longest, pad),
        collate_answers([pair.worse for pair in pairs], longest, pad),
        torch.tensor([pair.number for pair in pairs]),
    )


def collate_answers(rows: Sequence[Encoded], length: int, pad: int) -> Answers:
    """The rows as tensors of `length` places."""
    tokens_BT = torch.full((len(rows), length), pad, dtype=torch.long)
    content_BT = torch.zeros(len(rows), length, dtype=torch.bool)
    for number, row in enumerate(rows):
        tokens_BT[number, : len(row)] = torch.tensor(row.ids)
        own = [learn and not form for learn, form in zip(row.learn, row.format, strict=True)]
        content_BT[number, : len(row)] = torch.tensor(own)
    return Answers(tokens_BT, content_BT, torch.tensor([len(row) - 1 for row in rows]))


def answer_log_probs(logits_BTV: Tensor, answers: Answers) -> Tensor:
    """Log-probability of every answer, summed over its content, in nats: [B]."""
    picked_BT = logits_BTV[:, :-1].log_softmax(-1).gather(-1, answers.tokens_BT[:, 1:, None]).squeeze(-1)
    return (picked_BT * answers.content_BT[:, 1:]).sum(-1)
