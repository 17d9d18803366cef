"""A transformer that gives a number instead of the next token."""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from herd.model.attention_backends import branch_mask, branch_positions
from herd.model.layer_inputs import LayerInputs
from herd.model.sizes import Shape
from herd.model.transformer import Transformer


class RewardModel(nn.Module):
    """A score for every place of a sequence: a linear head on the last states.

    Source: Llama 3, 4.1.2; on disk it is Hugging Face's ...ForSequenceClassification with one label.
    """

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.trunk = Transformer(shape)
        del self.trunk.output
        self.score = nn.Linear(shape.dim, 1, bias=False)
        nn.init.zeros_(self.score.weight)

    @classmethod
    def from_transformer(cls, pretrained: Transformer) -> RewardModel:
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
            hidden_BTD = self.trunk.hidden_states(tokens_BT, documents_BT=documents_BT)
        else:
            documents_BT = torch.zeros_like(tokens_BT) if documents_BT is None else documents_BT
            hidden_BTD = _branched(self.trunk, tokens_BT, documents_BT, branches_BT)
        return self.score(hidden_BTD).float().squeeze(-1)


def trunk_of(model: Any) -> Any:
    """The transformer that a model is, or that a reward model's head stands on."""
    return model.trunk if isinstance(model, RewardModel) else model


def _branched(trunk: Transformer, tokens_BT: Tensor, documents_BT: Tensor, branches_BT: Tensor) -> Tensor:
    """The last states: [B, T, D]."""
    tokens = tokens_BT.shape[1]
    cos, sin = trunk.cos_sin(branch_positions(documents_BT, branches_BT), tokens)
    mask = partial(branch_mask, documents_BT, branches_BT)
    inputs = LayerInputs(trunk.shape, (cos[:, None], sin[:, None]), mask, tokens)
    x_BTD = trunk.embedding(tokens_BT)
    for layer, block in enumerate(trunk.blocks):
        x_BTD = block(x_BTD, *inputs.of(layer))
    return trunk.norm(x_BTD)
