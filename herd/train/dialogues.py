"""Batches of conversations, packed into rows, with only the assistant's words learnt."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from herd.core.errors import DataError
from herd.core.records import Conversation
from herd.tokens.chat import ChatFormat, Encoded
from herd.train.batches import IGNORED, Batch, Piece, Row, Text, collate, fill, generator


class DialogueBatches:
    """Conversations packed whole into rows of `length`, `rows` of them a step, for `epochs` passes.

    Raises DataError when not one conversation fits. left_out: how many were too long.
    """

    def __init__(
        self,
        conversations: Sequence[Conversation],
        form: ChatFormat,
        *,
        length: int,
        rows: int,
        epochs: int,
        seed: int,
        pad: int,
    ) -> None:
        encoded = [form.conversation(conversation) for conversation in conversations]
        self.texts = [learnt(one) for one in encoded if len(one) - 1 <= length]
        self.left_out = len(encoded) - len(self.texts)
        if not self.texts:
            raise DataError(f"none of {len(encoded)} conversations fits into {length} tokens; set a longer `length`")
        self.length, self.pad = length, pad
        packed = [self._pack(generator(seed, "dialogues", epoch)) for epoch in range(epochs)]
        self._rows = [row for epoch in packed for row in epoch]
        self._per_step = min(rows, len(self._rows))

    def _pack(self, chance: np.random.Generator) -> list[Row]:
        pieces = [Piece(number, 0, len(self.texts[number][0])) for number in chance.permutation(len(self.texts))]
        rows = fill(pieces, self.length)
        return [rows[number] for number in chance.permutation(len(rows))]

    def __len__(self) -> int:
        return len(self._rows) // self._per_step

    def batch(self, step: int) -> Batch:
        rows = self._rows[step * self._per_step : (step + 1) * self._per_step]
        return collate([[self.texts[piece.document] for piece in row] for row in rows], self.length, self.pad)

    @property
    def tokens(self) -> int:
        """Places trained on, padding included."""
        return len(self) * self._per_step * self.length


def learnt(encoded: Encoded) -> Text:
    """Inputs and targets of one conversation; what is not to be learnt is no target."""
    ids, learn = np.asarray(encoded.ids), np.asarray(encoded.learn)
    return ids[:-1], np.where(learn[1:], ids[1:], IGNORED)
