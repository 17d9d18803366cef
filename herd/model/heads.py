"""A transformer that gives a number instead of the next token."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from herd.model.attending import branch_mask, branch_positions
from herd.model.sizes import Shape
from herd.model.transformer import Transformer


class RewardModel(nn.Module):
    """A score for every place of a sequence: a linear head on the last states.

    Source: Llama 3, 4.1.2; on disk it is Hugging Face's LlamaForSequenceClassification with one label.
    """

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.trunk = Transformer(shape)
        del self.trunk.output
        self.score = nn.Linear(shape.width, 1, bias=False)
        nn.init.zeros_(self.score.weight)

    @classmethod
    def on(cls, pretrained: Transformer) -> RewardModel:
        """With the weights of `pretrained` and a head of zeros."""
        model = cls(pretrained.shape)
        weights = {name: value for name, value in pretrained.state_dict().items() if not name.startswith("output.")}
        model.trunk.load_state_dict(weights)
        return model

    @property
    def shape(self) -> Shape:
        return self.trunk.shape

    def forward(
        self, tokens_BT: Tensor, *, documents_BT: Tensor | None = None, branches_BT: Tensor | None = None
    ) -> Tensor:
        """Scores in fp32: [B, T]; the one that counts stands at an answer's last token.

        branches_BT: of each document, 0 where all of its answers may look and each answer's own number elsewhere;
        answers then neither see nor stand behind one another.
        """
        if branches_BT is None:
            hidden_BTD = self.trunk.hidden(tokens_BT, documents_BT=documents_BT)
        else:
            documents_BT = torch.zeros_like(tokens_BT) if documents_BT is None else documents_BT
            hidden_BTD = _branched(self.trunk, tokens_BT, documents_BT, branches_BT)
        return self.score(hidden_BTD).float().squeeze(-1)


def trunk_of(model: Any) -> Any:
    """The transformer that a model is, or that a reward model's head stands on."""
    return model.trunk if isinstance(model, RewardModel) else model


def _branched(trunk: Transformer, tokens_BT: Tensor, documents_BT: Tensor, branches_BT: Tensor) -> Tensor:
    """The last states: [B, T, D]."""
    positions_BT = branch_positions(documents_BT, branches_BT)
    mask = branch_mask(documents_BT, branches_BT)
    cos, sin = trunk.cos_TE[positions_BT][:, None], trunk.sin_TE[positions_BT][:, None]
    x_BTD = trunk.embedding(tokens_BT)
    for block in trunk.blocks:
        x_BTD = block(x_BTD, cos, sin, mask)
    return trunk.norm(x_BTD)
