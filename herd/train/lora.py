"""Fine-tuning of a few numbers beside frozen weights, for machines that cannot hold the moments of all."""

from __future__ import annotations

from typing import Literal, TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from herd.core.settings import Positive, Rate, settings

M = TypeVar("M", bound=nn.Module)
Matrix = Literal["query", "key", "value", "output", "gate", "up", "down"]


@settings
class LoraSettings:
    """rank: of what is added to a matrix. alpha: what is added counts alpha / rank. matrices: of every block."""

    rank: Positive = 16
    alpha: Rate = 32.0
    matrices: tuple[Matrix, ...] = ("query", "key", "value", "output", "gate", "up", "down")


class Adapted(nn.Module):
    """A frozen matrix W and what is learnt beside it: y = W x + (alpha / rank) B A x, where B begins at zero.

    Source: Hu et al. 2021 (LoRA), section 4.1.
    """

    def __init__(self, frozen: nn.Linear, settings: LoraSettings, generator: torch.Generator) -> None:
        super().__init__()
        self.frozen, self.scale = frozen, settings.alpha / settings.rank
        drawn = torch.empty(settings.rank, frozen.in_features)
        bound = frozen.in_features**-0.5
        self.first = nn.Parameter(drawn.uniform_(-bound, bound, generator=generator).to(frozen.weight))
        self.second = nn.Parameter(torch.zeros(frozen.out_features, settings.rank).to(frozen.weight))

    def forward(self, x: Tensor) -> Tensor:
        return self.frozen(x) + F.linear(F.linear(x, self.first), self.second) * self.scale

    def merged(self) -> nn.Linear:
        """One matrix that does the same."""
        with torch.no_grad():
            self.frozen.weight += self.scale * self.second @ self.first
        return self.frozen


def adapt(model: nn.Module, settings: LoraSettings | None, *, seed: int = 0) -> None:
    """Freezes `model` but for adapters beside its blocks' matrices; leaves it as it is without settings."""
    if settings is None:
        return
    generator = torch.Generator().manual_seed(seed)
    model.requires_grad_(False)
    for parent, name, child in _matrices(model, nn.Linear):
        if name in settings.matrices:
            setattr(parent, name, Adapted(child, settings, generator))


def merge(model: nn.Module) -> None:
    """Puts what adapters learnt into the matrices they stand beside; a model without any stays as it is."""
    for parent, name, child in _matrices(model, Adapted):
        setattr(parent, name, child.merged())
    model.requires_grad_(True)


def _matrices(model: nn.Module, kind: type[M]) -> list[tuple[nn.Module, str, M]]:
    """Matrices of blocks that are of this kind, each with whose it is and what it is called there."""
    return [
        (parent, name, child)
        for path, parent in list(model.named_modules())
        if "blocks." in path
        for name, child in parent.named_children()
        if isinstance(child, kind) and type(child) is kind and type(parent) is not Adapted
    ]
