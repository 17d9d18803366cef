"""Batches of conversations, packed into rows, with only the assistant's words learnt."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from herd.core.errors import DataError
from herd.core.records import Conversation
from herd.tokens.chat import Encoded
from herd.tokens.jinja import Chat
from herd.train.batches import IGNORED, Batch, WholeBatch, collate, rank_rows
from herd.train.rows import Piece, Row, Text, fill, generator


class DialogueBatches:
    """Conversations packed whole into rows of `length`, `rows` of them a step, for `epochs` passes.

    repeats: how often the conversations of a source are read in an epoch; once where none is named. Raises DataError
    when not one conversation fits, and for a source that has none. left_out: how many were too long. shares: of the
    tokens of each source that are learnt.
    """

    def __init__(
        self,
        conversations: Sequence[Conversation],
        form: Chat,
        *,
        length: int,
        rows: int,
        epochs: int,
        seed: int,
        pad: int,
        repeats: Mapping[str, float] | None = None,
    ) -> None:
        encoded = [(form.conversation(one), one.source) for one in conversations]
        fit = [(learnt(one), source) for one, source in encoded if len(one) - 1 <= length]
        self.texts, self._sources = [text for text, _ in fit], [source for _, source in fit]
        self.left_out = len(encoded) - len(self.texts)
        if not self.texts:
            raise DataError(f"none of {len(encoded)} conversations fits into {length} tokens; set a longer `length`")
        self.length, self.pad, self._repeats = length, pad, dict(repeats or {})
        if unknown := sorted(self._repeats.keys() - set(self._sources)):
            known = ", ".join(sorted(set(self._sources)))
            raise DataError(f"repeats names {', '.join(unknown)}; the conversations are of {known}")
        packed = [self._pack(generator(seed, "dialogues", epoch)) for epoch in range(epochs)]
        self._rows = [row for epoch in packed for row in epoch]
        if not self._rows:
            raise DataError("repeats leave nothing to learn from; read at least one source")
        self._per_step = min(rows, len(self._rows))

    def _pack(self, chance: np.random.Generator) -> list[Row]:
        pieces = [Piece(number, 0, len(self.texts[number][0])) for number in chance.permutation(self._read(chance))]
        rows = fill(pieces, self.length)
        return [rows[number] for number in chance.permutation(len(rows))]

    def _read(self, chance: np.random.Generator) -> list[int]:
        """The conversations of an epoch, by number, each as often as its source is read."""
        if not self._repeats:
            return list(range(len(self.texts)))
        found = []
        for number, source in enumerate(self._sources):
            times = self._repeats.get(source, 1.0)
            found += [number] * (int(times) + (chance.random() < times % 1))
        return found

    @property
    def shares(self) -> dict[str, float]:
        """Of each source, of all that is learnt in all epochs."""
        count: Counter[str] = Counter()
        for row in self._rows:
            for piece in row:
                count[self._sources[piece.document]] += int((self.texts[piece.document][1] != IGNORED).sum())
        return {source: tokens / max(1, count.total()) for source, tokens in count.most_common()}

    def __len__(self) -> int:
        return len(self._rows) // self._per_step

    def batch(self, step: int, rank: int = 0, world_size: int = 1) -> Batch:
        """The rows of `step`, of several ranks those of one."""
        rows = self._rows[step * self._per_step : (step + 1) * self._per_step]
        own = rows[rank_rows(len(rows), rank, world_size)]
        batch = collate([[self.texts[piece.document] for piece in row] for row in own], self.length, self.pad)
        if world_size == 1:
            return batch
        targets = sum(int((self.texts[piece.document][1] != IGNORED).sum()) for row in rows for piece in row)
        return replace(batch, whole=WholeBatch(float(targets), any(len(row) > 1 for row in rows), ()))

    @property
    def tokens(self) -> int:
        """Places trained on, padding included."""
        return len(self) * self._per_step * self.length


def learnt(encoded: Encoded) -> Text:
    """Inputs and targets of one conversation; what is not to be learnt is no target."""
    ids, learn = np.asarray(encoded.ids), np.asarray(encoded.learn)
    return ids[:-1], np.where(learn[1:], ids[1:], IGNORED)
