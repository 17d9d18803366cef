"""Scores from a reward model."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import chain
from pathlib import Path

import torch

from herd.core.artifacts import Checkpoint
from herd.core.errors import ArtifactError
from herd.core.records import Conversation
from herd.model.collectives import SINGLE_RANK, RankGroup
from herd.model.devices import place_model
from herd.model.heads import RewardModel
from herd.model.weights import load_model
from herd.tokens.jinja import chat_template_of
from herd.tokens.tokenizer import TextTokenizer

_ROWS = 64


class RewardJudge:
    """Higher is better. ranks: that have the model too, and score a part. Raises ArtifactError for a model that writes
    text instead of scoring it."""

    def __init__(self, model: RewardModel, tokenizer: TextTokenizer, ranks: RankGroup = SINGLE_RANK) -> None:
        self.model, self.ranks = model.eval(), ranks
        self.chat_template = chat_template_of(tokenizer)
        self.pad = tokenizer.pad_id

    @classmethod
    def load(cls, checkpoint: Checkpoint, device: str = "auto", ranks: RankGroup = SINGLE_RANK) -> RewardJudge:
        return cls.from_folder(checkpoint.path, device, ranks)

    @classmethod
    def from_folder(cls, folder: Path, device: str = "auto", ranks: RankGroup = SINGLE_RANK) -> RewardJudge:
        """In fp32: scores are compared, and lie close together."""
        model = place_model(load_model(folder), device)
        if not isinstance(model, RewardModel):
            raise ArtifactError(f"{folder} writes text; name a reward model")
        return cls(model, TextTokenizer.load(folder), ranks)

    def fits(self, conversation: Conversation) -> bool:
        """Whether it is short enough to be scored."""
        return len(self.chat_template.encode(conversation).ids) <= self.model.shape.max_seq_len

    def score(
        self, conversations: Sequence[Conversation], *, report: Callable[[int, int], None] = lambda count, total: None
    ) -> list[float]:
        """The score of the last answer in every conversation, read at its last token."""
        rows = [self.chat_template.encode(conversation).ids for conversation in conversations]
        order = sorted(range(len(rows)), key=lambda number: len(rows[number]))

        def score(start: int) -> list[float]:
            scores = self._batch([rows[number] for number in order[start : start + _ROWS]])
            report(min(start + _ROWS, len(rows)), len(rows))
            return scores

        by_length = chain.from_iterable(self.ranks.map(range(0, len(order), _ROWS), score))
        scores = dict(zip(order, by_length, strict=True))
        return [scores[number] for number in range(len(rows))]

    @torch.inference_mode()
    def _batch(self, rows: list[list[int]]) -> list[float]:
        longest = max(map(len, rows))
        device = self.model.score.weight.device
        tokens_BT = torch.tensor([row + [self.pad] * (longest - len(row)) for row in rows], device=device)
        last_B = torch.tensor([len(row) - 1 for row in rows], device=device)
        return self.model(tokens_BT)[torch.arange(len(rows), device=device), last_B].tolist()
