"""The transformer: blocks of grouped-query attention and SwiGLU, as Llama 3 has them or as its Architecture says."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from herd.core.errors import ArtifactError, DataError
from herd.model.accounting import feature
from herd.model.attending import Attending, Sdpa, masked
from herd.model.attention import Attention
from herd.model.cache import Cache, LayerCache
from herd.model.devices import check_memory
from herd.model.layer_inputs import LayerInputs
from herd.model.norm import RMSNorm
from herd.model.rope import angles, angles_at
from herd.model.sizes import Shape


class FeedForward(nn.Module):
    """SwiGLU: down(silu(gate x) * up x). Source: Shazeer 2020; Llama 3, table 3."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        bias = shape.architecture.ffn_bias
        self.gate = nn.Linear(shape.width, shape.hidden, bias=bias)
        self.up = nn.Linear(shape.width, shape.hidden, bias=bias)
        self.down = nn.Linear(shape.hidden, shape.width, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        return self.down(F.silu(self.gate(x)) * self.up(x))


class Block(nn.Module):
    """One layer: attention, then the feed-forward, each on a normed copy added back; or normed before it is added."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.attention_norm = RMSNorm(shape.width, shape.norm_eps)
        self.attention = Attention(shape)
        self.feed_forward_norm = RMSNorm(shape.width, shape.norm_eps)
        self.feed_forward = FeedForward(shape)
        self.post_norm = shape.architecture.post_norm

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor, mask: Any, cache: LayerCache | None = None) -> Tensor:
        if self.post_norm:
            x = x + self.attention_norm(self.attention(x, cos, sin, mask, cache))
            return x + self.feed_forward_norm(self.feed_forward(x))
        x = x + self.attention(self.attention_norm(x), cos, sin, mask, cache)
        return x + self.feed_forward(self.feed_forward_norm(x))


# From the last states, [B, T, D], and the output matrix, [V, D], to a loss that never holds all logits.
Finish = Callable[[Tensor, Tensor], Any]


# How a block, and the norm after the last, are called: plainly, compiled, or keeping less in memory.
Call = Callable[..., Tensor]


def plainly(block: Callable[..., Tensor], *inputs: Any) -> Tensor:
    """A block's output."""
    return block(*inputs)


class Transformer(nn.Module):
    """Token ids in, logits out. Raises SettingsError for a shape that this machine cannot hold."""

    cos_TE: Tensor
    sin_TE: Tensor

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        check_memory(shape)
        self.shape = shape
        self.embedding = nn.Embedding(shape.vocabulary, shape.width)
        self.blocks = nn.ModuleList(Block(shape) for _ in range(shape.layers))
        self.norm = RMSNorm(shape.width, shape.norm_eps)
        self.output = None if shape.tied_output else nn.Linear(shape.width, shape.vocabulary, bias=False)
        self.attending: Attending = Sdpa()
        self.call: Call = plainly
        self.stretch(shape.context)

    def stretch(self, context: int) -> None:
        """Makes room for sequences of `context` tokens. Weights stay; only the table of angles grows."""
        self.reshape(replace(self.shape, context=context))

    def reshape(self, shape: Shape) -> None:
        """Reads sequences and turns positions as `shape` says, which has the same weights. Weights stay."""
        check_memory(shape)
        self.shape = shape
        context = shape.context
        cos, sin = angles(context, self.shape.head_width, self.shape.rope_theta, self.shape.rope_scaling)
        device = self.embedding.weight.device
        self.register_buffer("cos_TE", cos.to(device), persistent=False)
        self.register_buffer("sin_TE", sin.to(device), persistent=False)

    def use(self, attending: Attending) -> None:
        """Lets every layer attend in this way when no cache is given."""
        self.attending = attending
        for block in self.blocks:
            block.attention.attending = attending  # type: ignore[union-attr]

    def hidden(
        self,
        tokens_BT: Tensor,
        *,
        documents_BT: Tensor | None = None,
        cache: Cache | None = None,
        reach: int | None = None,
        call: Call | None = None,
    ) -> Tensor:
        """The last layer's states after the final norm: [B, T, D].

        documents_BT: number of the document each token is in; tokens see only their own (None: one a row).
        cache: keys and values of earlier tokens, which the new ones follow and are added to by position;
        its lengths are the caller's to move. reach: how many of its slots are looked at; all when absent. call: how
        blocks are called with it.
        """
        if cache is None and tokens_BT.shape[1] > self.shape.context:
            raise DataError(
                f"a row of {tokens_BT.shape[1]} tokens is longer than the {self.shape.context} the model reads; give "
                "shorter rows, or make its context longer first (`longer:` in a recipe)"
            )
        x_BTD = self.embedding(tokens_BT)
        if cache is None:
            return self.call(self.norm, self.layers(x_BTD, documents_BT))
        positions_BT = cache.positions(tokens_BT.shape[1])
        reach = cache.slots if reach is None else reach
        cos, sin = self.turns(positions_BT, positions_BT[:, -1] + 1)
        turns = cos[:, None], sin[:, None]
        inputs = LayerInputs(self.shape, turns, partial(cache.mask, positions_BT, reach), reach)
        for layer, block in enumerate(self.blocks):
            cos, sin, mask = inputs.of(layer)
            seen = cache.slots if mask is None else reach  # a view that never changes is compiled once
            x_BTD = (call or plainly)(block, x_BTD, cos, sin, mask, cache.layer(layer, positions_BT, seen))
        return self.norm(x_BTD)

    def turns(self, positions: slice | Tensor, length: int | Tensor) -> tuple[Tensor, Tensor]:
        """Cosine and sine at positions, [T] or [B, T], of sequences of `length`, or of lengths [B]."""
        return angles_at(self.shape, (self.cos_TE, self.sin_TE), positions, length)

    def layers(self, x_BTD: Tensor, documents_BT: Tensor | None) -> Tensor:
        """`x` after all blocks this model holds, over whole sequences."""
        tokens = x_BTD.shape[1]
        inputs = LayerInputs(
            self.shape,
            self.turns(self.attending.positions(tokens), tokens),
            partial(masked, self.attending, x_BTD, documents_BT),
            tokens,
        )
        for layer, block in enumerate(self.blocks):
            x_BTD = self.call(block, x_BTD, *inputs.of(layer))
        return x_BTD

    def forward(
        self,
        tokens_BT: Tensor,
        *,
        documents_BT: Tensor | None = None,
        cache: Cache | None = None,
        finish: Finish | None = None,
    ) -> Any:
        """Logits in fp32: [B, T, V]; or what `finish` makes of the last states and the output matrix."""
        hidden_BTD = self.hidden(tokens_BT, documents_BT=documents_BT, cache=cache)
        return self.logits(hidden_BTD) if finish is None else finish(hidden_BTD, self.output_weight)

    @property
    def output_weight(self) -> Tensor:
        """What turns states into logits: [V, D]."""
        return self.embedding.weight if self.output is None else self.output.weight

    def logits(self, hidden: Tensor) -> Tensor:
        """Logits in fp32 of states after the final norm: [..., D] to [..., V]."""
        return self.output(hidden).float() if self.output else F.linear(hidden, self.embedding.weight).float()


def plain_weights(model: Transformer) -> Iterator[Tensor]:
    """The weights that plain Llama has: gains and matrices, and nothing beside them."""
    yield from (model.embedding.weight, model.norm.weight, model.output_weight)
    for block in model.blocks:
        for name in ("attention_norm", "feed_forward_norm"):
            yield block.get_submodule(name).weight  # type: ignore[misc]
        for part in (*block.attention.children(), *block.feed_forward.children()):  # type: ignore[union-attr]
            if isinstance(part, nn.Linear):
                yield part.weight


# Of each kind of module, exactly: the parts and weights its `forward` reads.
_READS: dict[type[nn.Module], frozenset[str]] = {
    RMSNorm: frozenset({"weight"}),
    Attention: frozenset({"query", "key", "value", "output", "query_norm", "key_norm"}),
    FeedForward: frozenset({"gate", "up", "down"}),
    Block: frozenset({"attention_norm", "attention", "feed_forward_norm", "feed_forward"}),
    Transformer: frozenset({"embedding", "blocks", "norm", "output"}),
}


def check_eager(model: nn.Module) -> None:
    """Raises ArtifactError, which names the weight, when `model` holds one that calling its parts would leave out.

    A subclass, or a module of another kind, reads what it has; an output's bias is not read, because losses take
    the matrix alone.
    """
    for path, module in model.named_modules():
        wanted = _READS.get(type(module))
        own = [*(n for n, _ in module.named_parameters(recurse=False)), *(n for n, _ in module.named_children())]
        left = [] if wanted is None else [name for name in own if name not in wanted]
        output = getattr(module, "output", None)  # a reward model's trunk has none
        if type(module) is Transformer and isinstance(output, nn.Linear) and output.bias is not None:
            left.append("output.bias")
        if left:
            name = f"{path}.{left[0]}" if path else left[0]
            raise ArtifactError(
                f"{name} is {feature(name)}, which a {type(module).__name__} does not read; bring a model without it"
            )


def initialize(model: nn.Module, *, std: float, layers: int, generator: torch.Generator) -> None:
    """Draws every matrix from N(0, std), the two that write to the residual stream from N(0, std / sqrt(2L)).

    The report does not state its initialisation; the scaling is GPT-2's. Norms start at one, biases at zero.
    """
    shapes = {name: weight.shape for name, weight in model.named_parameters()}
    weights = dict(model.named_parameters())
    for name, value in _drawn(shapes, std, layers, generator):
        with torch.no_grad():
            weights[name].copy_(value)


def initial_weights(shape: Shape, *, std: float, generator: torch.Generator) -> Iterator[tuple[str, Tensor]]:
    """What `initialize` gives a model of `shape`, weight after weight, for devices that hold a part of each."""
    with torch.device("meta"):
        shapes = {name: weight.shape for name, weight in Transformer(shape).named_parameters()}
    yield from _drawn(shapes, std, shape.layers, generator)


def _drawn(
    shapes: dict[str, torch.Size], std: float, layers: int, generator: torch.Generator
) -> Iterator[tuple[str, Tensor]]:
    for name, size in sorted(shapes.items()):
        if len(size) < 2:
            yield name, torch.zeros(size) if name.endswith(".bias") else torch.ones(size)
            continue
        into_stream = name.endswith(("attention.output.weight", "feed_forward.down.weight"))
        scale = std / (2 * layers) ** 0.5 if into_stream else std
        yield name, torch.empty(size).normal_(0.0, scale, generator=generator)


def stream_logits(shape: Shape, read: Callable[[str], Tensor], tokens_BT: Tensor) -> Tensor:
    """Logits in fp32, [B, T, V], of a model whose weights are read by name, one block in memory at a time."""

    def filled(module: nn.Module, prefix: str) -> nn.Module:
        return fill(module, {name: read(f"{prefix}.{name}").float() for name, _ in module.named_parameters()})

    tokens = tokens_BT.shape[1]
    turns = angles(tokens, shape.head_width, shape.rope_theta, shape.rope_scaling)
    embedding = read("embedding.weight").float()
    x_BTD = F.embedding(tokens_BT, embedding)
    inputs = LayerInputs(shape, turns, partial(masked, Sdpa(), x_BTD, None), tokens)
    for layer in range(shape.layers):
        with torch.device("meta"):
            block = Block(shape)
        x_BTD = filled(block, f"blocks.{layer}")(x_BTD, *inputs.of(layer))
    x_BTD = filled(RMSNorm(shape.width, shape.norm_eps), "norm")(x_BTD)
    return F.linear(x_BTD, embedding if shape.tied_output else read("output.weight").float())


def fill(module: nn.Module, weights: dict[str, Tensor]) -> nn.Module:
    """`module` with these tensors as its weights, not copied; it may have been made without memory."""
    module.load_state_dict(weights, assign=True)
    return module
