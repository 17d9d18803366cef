"""Llama 3: pre-norm blocks of grouped-query attention and SwiGLU, no biases."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from herd.model.attention import Attention, document_mask
from herd.model.cache import Cache
from herd.model.rope import angles
from herd.model.sizes import Shape


class RMSNorm(nn.Module):
    """`x` over its root mean square, times a learnt gain.

    Source: Zhang and Sennrich 2019; the order of casts is llama-models': back to x's type, then the gain.
    """

    def __init__(self, width: int, eps: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        if x.dtype == torch.float32:
            return F.rms_norm(x, self.weight.shape, self.weight, self.eps)
        return F.rms_norm(x.float(), self.weight.shape, None, self.eps).to(x.dtype) * self.weight


class FeedForward(nn.Module):
    """SwiGLU: down(silu(gate x) * up x). Source: Shazeer 2020; Llama 3, table 3."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.gate = nn.Linear(shape.width, shape.hidden, bias=False)
        self.up = nn.Linear(shape.width, shape.hidden, bias=False)
        self.down = nn.Linear(shape.hidden, shape.width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.down(F.silu(self.gate(x)) * self.up(x))


class Block(nn.Module):
    """One layer: attention, then the feed-forward, each on a normed copy added back."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.attention_norm = RMSNorm(shape.width, shape.norm_eps)
        self.attention = Attention(shape)
        self.feed_forward_norm = RMSNorm(shape.width, shape.norm_eps)
        self.feed_forward = FeedForward(shape)

    def forward(
        self, x: Tensor, cos: Tensor, sin: Tensor, mask: Tensor | None, cache: tuple[Cache, int, Tensor] | None
    ) -> Tensor:
        x = x + self.attention(self.attention_norm(x), cos, sin, mask, cache)
        return x + self.feed_forward(self.feed_forward_norm(x))


class Transformer(nn.Module):
    """Token ids in, logits out."""

    cos_TE: Tensor
    sin_TE: Tensor

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        self.embedding = nn.Embedding(shape.vocabulary, shape.width)
        self.blocks = nn.ModuleList(Block(shape) for _ in range(shape.layers))
        self.norm = RMSNorm(shape.width, shape.norm_eps)
        self.output = None if shape.tied_output else nn.Linear(shape.width, shape.vocabulary, bias=False)
        self.stretch(shape.context)

    def stretch(self, context: int) -> None:
        """Makes room for sequences of `context` tokens. Weights stay; only the table of angles grows."""
        self.shape = replace(self.shape, context=context)
        cos, sin = angles(context, self.shape.head_width, self.shape.rope_theta, self.shape.rope_scaling)
        device = self.embedding.weight.device
        self.register_buffer("cos_TE", cos.to(device), persistent=False)
        self.register_buffer("sin_TE", sin.to(device), persistent=False)

    def hidden(
        self,
        tokens_BT: Tensor,
        *,
        documents_BT: Tensor | None = None,
        cache: Cache | None = None,
    ) -> Tensor:
        """The last layer's states after the final norm: [B, T, D].

        documents_BT: number of the document each token is in; tokens see only their own (None: one a row).
        cache: keys and values of earlier tokens, which the new ones follow and are added to by position;
        its lengths are the caller's to move.
        """
        tokens = tokens_BT.shape[1]
        if cache is None:
            mask = None if documents_BT is None else document_mask(documents_BT)
            cos, sin = self.cos_TE[:tokens], self.sin_TE[:tokens]
            positions_BT = None
        else:
            positions_BT = cache.positions(tokens)
            mask = cache.mask(positions_BT)
            cos, sin = self.cos_TE[positions_BT][:, None], self.sin_TE[positions_BT][:, None]
        x_BTD = self.embedding(tokens_BT)
        for layer, block in enumerate(self.blocks):
            layer_cache = None if cache is None else (cache, layer, positions_BT)
            x_BTD = block(x_BTD, cos, sin, mask, layer_cache)
        return self.norm(x_BTD)

    def forward(self, tokens_BT: Tensor, *, documents_BT: Tensor | None = None, cache: Cache | None = None) -> Tensor:
        """Logits in fp32: [B, T, V]."""
        return self.logits(self.hidden(tokens_BT, documents_BT=documents_BT, cache=cache))

    def logits(self, hidden: Tensor) -> Tensor:
        """Logits in fp32 of states after the final norm: [..., D] to [..., V]."""
        return self.output(hidden).float() if self.output else F.linear(hidden, self.embedding.weight).float()


def initialize(model: nn.Module, *, std: float, layers: int, generator: torch.Generator) -> None:
    """Draws every matrix from N(0, std), the two that write to the residual stream from N(0, std / sqrt(2L)).

    The report does not state its initialisation; the scaling is GPT-2's. Norms start at one.
    """
    for name, weight in sorted(model.named_parameters()):
        if weight.dim() < 2:
            continue
        into_stream = name.endswith(("attention.output.weight", "feed_forward.down.weight"))
        scale = std / (2 * layers) ** 0.5 if into_stream else std
        with torch.no_grad():
            weight.normal_(0.0, scale, generator=generator)


def stream_logits(shape: Shape, read: Callable[[str], Tensor], tokens_BT: Tensor) -> Tensor:
    """Logits in fp32, [B, T, V], of a model whose weights are read by name, one block in memory at a time."""

    def filled(module: nn.Module, prefix: str) -> nn.Module:
        return fill(module, {name: read(f"{prefix}.{name}").float() for name, _ in module.named_parameters()})

    cos, sin = angles(tokens_BT.shape[1], shape.head_width, shape.rope_theta, shape.rope_scaling)
    embedding = read("embedding.weight").float()
    x_BTD = F.embedding(tokens_BT, embedding)
    for layer in range(shape.layers):
        with torch.device("meta"):
            block = Block(shape)
        x_BTD = filled(block, f"blocks.{layer}")(x_BTD, cos, sin, None, None)
    x_BTD = filled(RMSNorm(shape.width, shape.norm_eps), "norm")(x_BTD)
    return F.linear(x_BTD, embedding if shape.tied_output else read("output.weight").float())


def fill(module: nn.Module, weights: dict[str, Tensor]) -> nn.Module:
    """`module` with these tensors as its weights, not copied; it may have been made without memory."""
    module.load_state_dict(weights, assign=True)
    return module
