"""What blocks are given beside states: how positions turn, and who may look where, of each layer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from herd.model.sizes import Shape

# Cosine, sine, and what attention takes as its mask.
LayerInput = tuple[Tensor, Tensor, Any]


class LayerInputs:
    """Cosine, sine and mask of every layer, each made once for all layers that share it.

    mask: of a window, None where a token looks at all before it. tokens: as many as there are to look at; a window that
    holds all of them is none.
    """

    def __init__(
        self, shape: Shape, cos_sin: tuple[Tensor, Tensor], mask: Callable[[int | None], Any], tokens: int
    ) -> None:
        self._shape, self._tokens, self._cos_sin = shape, tokens, cos_sin
        cos, sin = cos_sin
        # A layer without positions turns by nothing.
        self._identity = (torch.ones_like(cos), torch.zeros_like(sin)) if shape.architecture.nope_layers else cos_sin
        windows = {self._window(layer) for layer in range(shape.n_layers)}
        self._masks = {window: mask(window) for window in windows}

    def _window(self, layer: int) -> int | None:
        window = self._shape.window(layer)
        return None if window is None or window >= self._tokens else window

    def of(self, layer: int) -> LayerInput:
        """Of the layer with this number in the whole model."""
        cos, sin = self._cos_sin if self._shape.uses_rope(layer) else self._identity
        return cos, sin, self._masks[self._window(layer)]
