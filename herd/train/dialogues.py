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
from herd.train.batches import IGNORE_INDEX, Batch, GlobalBatch, collate, rank_rows, step_rows
from herd.train.replay import ReplaySampler
from herd.train.results import SourceUse
from herd.train.rows import DocumentSpan, InputsTargets, PackedRow, named_rng, pack_best_fit, row_length

_NOTHING_LEFT = "repeats leave nothing to learn from; read at least one source"
_EMPTY_PASSES = 1_000  # in a row: who draws one dialogue in a hundred passes comes here once in 23,000 times


class DialogueBatches:
    """Conversations packed whole into rows of `length`, `rows` of them a step, for `epochs` passes, or for exactly
    `steps` steps over as many passes as they take. ranks: that share a step. drop_last: whether the rows of the last
    pass that fill no step are left unread; else they make a smaller one, of as many as ranks share evenly.

    repeats: how often the conversations of a source are read in an epoch; once where none is named. Raises DataError
    when not one conversation fits, for a source that has none, and where `steps` want rows of which a thousand passes
    draw none. replay: pre-training documents that are packed into
    the same rows, other ones in every epoch; all of their tokens are learnt. examples: how many conversations fit.
    left_out: how many were too long. shares: of the tokens of each source that are learnt. epoch_ends: the numbers of
    the steps, from 1, with which a pass is over, the last step's among them.
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
        replay: ReplaySampler | None = None,
        steps: int | None = None,
        ranks: int = 1,
        drop_last: bool = True,
    ) -> None:
        encoded = [(chat_template.encode(conversation), conversation.source) for conversation in conversations]
        fit = [(inputs_and_targets(encoding), source) for encoding, source in encoded if len(encoding) - 1 <= length]
        # Conversations, and behind them the pieces of documents that epoch after epoch is replayed.
        self.texts, self._sources = [text for text, _ in fit], [source for _, source in fit]
        self.examples, self.left_out = len(fit), len(encoded) - len(fit)
        if not encoded:
            raise DataError("there are no dialogues to learn from; see why the stage before left none")
        if not fit:
            raise DataError(f"none of {len(encoded)} conversations fits into {length} tokens; set a longer `length`")
        self.length, self.pad, self._repeats, self._replay = length, pad, dict(repeats or {}), replay
        if unknown := sorted(self._repeats.keys() - set(self._sources)):
            known_sources = ", ".join(sorted(set(self._sources)))
            raise DataError(f"repeats names {', '.join(unknown)}; the conversations are of {known_sources}")
        if all(self._repeats.get(source, 1.0) == 0 for source in self._sources):
            raise DataError(_NOTHING_LEFT)
        self._rows: list[PackedRow] = []
        self._rows_by_epoch: list[int] = []  # how many have been read when each is over
        empty = 0  # passes in a row that drew nothing
        while len(self._rows) < steps * rows if steps else len(self._rows_by_epoch) < epochs:
            drawn = self._pack(named_rng(seed, "dialogues", len(self._rows_by_epoch)))
            self._rows += drawn
            self._rows_by_epoch.append(len(self._rows))
            empty = 0 if drawn else empty + 1
            if steps and empty == _EMPTY_PASSES:
                raise DataError(f"repeats draw nothing in {empty:,} passes, and {steps:,} steps want rows; raise them")
        if not self._rows:
            raise DataError(_NOTHING_LEFT)
        if replay is not None and len(self.texts) == self.examples:
            raise DataError("replay's share of so few conversations is less than half a document; raise `share`")
        self._per_step = step_rows(len(self._rows), rows, ranks)
        del self._rows[steps * rows if steps else len(self._rows) :]
        last = 0 if drop_last else len(self._rows) % self._per_step
        self._rows_read = len(self._rows) // self._per_step * self._per_step + last - last % ranks

    def _pack(self, rng: np.random.Generator) -> list[PackedRow]:
        examples = self._sample_epoch(rng)
        numbers = rng.permutation([*examples, *self._draw_replay(examples)])
        spans = [DocumentSpan(number, 0, len(self.texts[number][0])) for number in numbers]
        rows = pack_best_fit(spans, self.length)
        return [rows[number] for number in rng.permutation(len(rows))]

    def _sample_epoch(self, rng: np.random.Generator) -> list[int]:
        """The conversations of an epoch, by number, each as often as its source is read."""
        if not self._repeats:
            return list(range(self.examples))
        numbers = []
        for number, source in enumerate(self._sources[: self.examples]):
            times = self._repeats.get(source, 1.0)
            numbers += [number] * (int(times) + (rng.random() < times % 1))
        return numbers

    def _draw_replay(self, examples: Sequence[int]) -> range:
        """The numbers of the documents that are read beside `examples`, which are put behind all texts so far."""
        first = len(self.texts)
        if self._replay is not None:
            for source, text in self._replay.draw(sum(len(self.texts[number][0]) for number in examples)):
                self.texts.append(text)
                self._sources.append(source)
        return range(first, len(self.texts))

    @property
    def shares(self) -> dict[str, float]:
        """Of each source, of all that is learnt in all epochs; replayed ones as `replay/NAME`."""
        count: Counter[str] = Counter()
        for span in chain.from_iterable(self._rows):
            prefix = "replay/" if span.document >= self.examples else ""
            count[prefix + self._sources[span.document]] += self._num_targets(span)
        return {source: tokens / max(1, count.total()) for source, tokens in count.most_common()}

    @property
    def replayed(self) -> dict[str, SourceUse]:
        """What the steps read of each source of pre-training; its share is of all tokens that they read."""
        epochs = {} if self._replay is None else self._replay.epochs()
        rows, tokens, total = Counter[str](), Counter[str](), 0
        for row in self._rows[: self._rows_read]:
            total += row_length(row)
            documents = [span for span in row if span.document >= self.examples]
            rows.update({self._sources[span.document] for span in documents})
            for span in documents:
                tokens[self._sources[span.document]] += span.count
        return {name: SourceUse(rows[name], tokens[name], tokens[name] / total, epochs[name]) for name in epochs}

    def __len__(self) -> int:
        return -(-self._rows_read // self._per_step)

    @property
    def rows_per_step(self) -> int:
        return self._per_step

    @property
    def unread_rows(self) -> int:
        """How many packed rows of the last pass fill no step, and so are not read."""
        return len(self._rows) - self._rows_read

    @property
    def epoch_ends(self) -> tuple[int, ...]:
        ends = (min(len(self), -(-rows // self._per_step)) for rows in self._rows_by_epoch if rows)
        return tuple(dict.fromkeys(ends))

    def epoch_of(self, step: int) -> float:
        """How often everything has been read after so many steps."""
        rows, before = min(step * self._per_step, self._rows_read), 0
        for epoch, end in enumerate(self._rows_by_epoch):
            if rows < end:
                return epoch + (rows - before) / (end - before)
            before = end
        return float(len(self._rows_by_epoch))

    def batch(self, step: int, rank: int = 0, world_size: int = 1) -> Batch:
        """The rows of `step`, of several ranks those of one."""
        rows = self._rows[step * self._per_step : min((step + 1) * self._per_step, self._rows_read)]
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
        return self._rows_read * self.length


def inputs_and_targets(encoded: EncodedConversation) -> InputsTargets:
    """Inputs and targets of one conversation; what is not to be learnt is no target."""
    ids, loss_mask = np.asarray(encoded.ids), np.asarray(encoded.loss_mask)
    return ids[:-1], np.where(loss_mask[1:], ids[1:], IGNORE_INDEX)
