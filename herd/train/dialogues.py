"""Batches of conversations, packed into rows, with only the assistant's words learnt."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import chain

import numpy as np

from herd.core.errors import DataError
from herd.core.records import Conversation
from herd.tokens.chat import EncodedConversation
from herd.tokens.jinja import ChatTemplate
from herd.train.batches import IGNORE_INDEX, Batch, GlobalBatch, collate, rank_rows
from herd.train.rows import DocumentSpan, InputsTargets, PackedRow, named_rng, pack_best_fit


class DialogueBatches:
    """Conversations packed whole into rows of `length`, `rows` of them a step, for `epochs` passes.

    repeats: how often the conversations of a source are read in an epoch; once where none is named. Raises DataError
    when not one conversation fits, and for a source that has none. left_out: how many were too long. shares: of the
    tokens of each source that are learnt.
    """

    def __init__(
        self,
        conversations: Sequence[Conversation],
        chat_template: ChatTemplate,
        *,
        length: int,
        rows: int,
        epochs: int,
        seed: int,
        pad: int,
        repeats: Mapping[str, float] | None = None,
    ) -> None:
        encoded = [(chat_template.encode(conversation), conversation.source) for conversation in conversations]
        fit = [(inputs_and_targets(encoding), source) for encoding, source in encoded if len(encoding) - 1 <= length]
        self.texts, self._sources = [text for text, _ in fit], [source for _, source in fit]
        self.left_out = len(encoded) - len(self.texts)
        if not self.texts:
            raise DataError(f"none of {len(encoded)} conversations fits into {length} tokens; set a longer `length`")
        self.length, self.pad, self._repeats = length, pad, dict(repeats or {})
        if unknown := sorted(self._repeats.keys() - set(self._sources)):
            known_sources = ", ".join(sorted(set(self._sources)))
            raise DataError(f"repeats names {', '.join(unknown)}; the conversations are of {known_sources}")
        packed = (self._pack(named_rng(seed, "dialogues", epoch)) for epoch in range(epochs))
        self._rows = list(chain.from_iterable(packed))
        if not self._rows:
            raise DataError("repeats leave nothing to learn from; read at least one source")
        self._per_step = min(rows, len(self._rows))

    def _pack(self, rng: np.random.Generator) -> list[PackedRow]:
        spans = [
            DocumentSpan(number, 0, len(self.texts[number][0])) for number in rng.permutation(self._sample_epoch(rng))
        ]
        rows = pack_best_fit(spans, self.length)
        return [rows[number] for number in rng.permutation(len(rows))]

    def _sample_epoch(self, rng: np.random.Generator) -> list[int]:
        """The conversations of an epoch, by number, each as often as its source is read."""
        if not self._repeats:
            return list(range(len(self.texts)))
        numbers = []
        for number, source in enumerate(self._sources):
            times = self._repeats.get(source, 1.0)
            numbers += [number] * (int(times) + (rng.random() < times % 1))
        return numbers

    @property
    def shares(self) -> dict[str, float]:
        """Of each source, of all that is learnt in all epochs."""
        count: Counter[str] = Counter()
        for span in chain.from_iterable(self._rows):
            count[self._sources[span.document]] += self._num_targets(span)
        return {source: tokens / max(1, count.total()) for source, tokens in count.most_common()}

    def __len__(self) -> int:
        return len(self._rows) // self._per_step

    def batch(self, step: int, rank: int = 0, world_size: int = 1) -> Batch:
        """The rows of `step`, of several ranks those of one."""
        rows = self._rows[step * self._per_step : (step + 1) * self._per_step]
        own = rows[rank_rows(len(rows), rank, world_size)]
        batch = collate(list(map(self._texts_of, own)), self.length, self.pad)
        if world_size == 1:
            return batch
        targets = sum(map(self._num_targets, chain.from_iterable(rows)))
        return replace(batch, global_batch=GlobalBatch(float(targets), any(len(row) > 1 for row in rows), ()))

    def _texts_of(self, row: PackedRow) -> list[InputsTargets]:
        return [self.texts[span.document] for span in row]

    def _num_targets(self, span: DocumentSpan) -> int:
        _, targets = self.texts[span.document]
        return int((targets != IGNORE_INDEX).sum())

    @property
    def tokens(self) -> int:
        """Places trained on, padding included."""
        return len(self) * self._per_step * self.length


def inputs_and_targets(encoded: EncodedConversation) -> InputsTargets:
    """Inputs and targets of one conversation; what is not to be learnt is no target."""
    ids, loss_mask = np.asarray(encoded.ids), np.asarray(encoded.loss_mask)
    return ids[:-1], np.where(loss_mask[1:], ids[1:], IGNORE_INDEX)
