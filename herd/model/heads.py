"""A transformer that gives a number instead of the next token."""

from __future__ import annotations

from torch import Tensor, nn

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

    @property
    def shape(self) -> Shape:
        return self.trunk.shape

    def forward(self, tokens_BT: Tensor, *, documents_BT: Tensor | None = None) -> Tensor:
        """Scores in fp32: [B, T]; the one that counts stands at an answer's last token."""
        return self.score(self.trunk.hidden(tokens_BT, documents_BT=documents_BT)).float().squeeze(-1)
