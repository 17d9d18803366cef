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
from herd.model.accounting import describe_tensor
from herd.model.attention import Attention
from herd.model.attention_backends import AttentionBackend, Sdpa, make_mask
from herd.model.cache import LayerCache, PagedKVCache
from herd.model.devices import check_memory
from herd.model.layer_inputs import LayerInputs
from herd.model.norm import RMSNorm
from herd.model.rope import rope_at, rope_tables
from herd.model.sizes import Shape


class FeedForward(nn.Module):
    """SwiGLU: down(silu(gate x) * up x). Source: Shazeer 2020; Llama 3, table 3."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        bias = shape.architecture.ffn_bias
        self.gate = nn.Linear(shape.dim, shape.ffn_dim, bias=bias)
        self.up = nn.Linear(shape.dim, shape.ffn_dim, bias=bias)
        self.down = nn.Linear(shape.ffn_dim, shape.dim, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        return self.down(F.silu(self.gate(x)) * self.up(x))


class TransformerBlock(nn.Module):
    """One layer: attention, then the feed-forward, each on a normed copy added back; or normed before it is added."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.attention_norm = RMSNorm(shape.dim, shape.norm_eps)
        self.attention = Attention(shape)
        self.feed_forward_norm = RMSNorm(shape.dim, shape.norm_eps)
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


def call_eager(block: Callable[..., Tensor], *inputs: Any) -> Tensor:
    """A block's output."""
    return block(*inputs)


class _Embedding(nn.Embedding):
    """PyTorch's, which draws nothing where it has no memory: that draw alone would load PyTorch's compiler."""

    def reset_parameters(self) -> None:
        if not self.weight.is_meta:
            super().reset_parameters()


class Transformer(nn.Module):
    """Token ids in, logits out. Raises SettingsError for a shape that this machine cannot hold."""

    cos_TE: Tensor
    sin_TE: Tensor

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        check_memory(shape)
        self.shape = shape
        self.embedding = _Embedding(shape.vocab_size, shape.dim)
        self.blocks = nn.ModuleList(TransformerBlock(shape) for _ in range(shape.n_layers))
        self.norm = RMSNorm(shape.dim, shape.norm_eps)
        self.output = None if shape.tied_output else nn.Linear(shape.dim, shape.vocab_size, bias=False)
        self.attention_backend: AttentionBackend = Sdpa()
        self.call: Call = call_eager
        self.set_max_seq_len(shape.max_seq_len)

    def set_max_seq_len(self, max_seq_len: int) -> None:
        """Makes room for sequences of `max_seq_len` tokens. Weights stay; only the table of angles grows."""
        self.set_rope(replace(self.shape, max_seq_len=max_seq_len))

    def set_rope(self, shape: Shape) -> None:
        """Reads sequences and turns positions as `shape` says, which has the same weights. Weights stay."""
        check_memory(shape)
        self.shape = shape
        max_seq_len = shape.max_seq_len
        cos, sin = rope_tables(max_seq_len, self.shape.head_dim, self.shape.rope_theta, self.shape.rope_scaling)
        device = self.embedding.weight.device
        self.register_buffer("cos_TE", cos.to(device), persistent=False)
        self.register_buffer("sin_TE", sin.to(device), persistent=False)

    def set_attention_backend(self, backend: AttentionBackend) -> None:
        """Lets every layer attend in this way when no cache is given."""
        self.attention_backend = backend
        for block in self.blocks:
            block.attention.attention_backend = backend  # type: ignore[union-attr]

    def hidden_states(
        self,
        tokens_BT: Tensor,
        *,
        documents_BT: Tensor | None = None,
        cache: PagedKVCache | None = None,
        kv_len: int | None = None,
        call: Call | None = None,
    ) -> Tensor:
        """The last layer's states after the final norm: [B, T, D].

        documents_BT: number of the document each token is in; tokens see only their own (None: one a row).
        cache: keys and values of earlier tokens, which the new ones follow and are added to by position;
        its lengths are the caller's to move. kv_len: how many of its slots are looked at; all when absent. call: how
        blocks are called with it.
        """
        if cache is None and tokens_BT.shape[1] > self.shape.max_seq_len:
            raise DataError(
                f"a row of {tokens_BT.shape[1]} tokens is longer than the {self.shape.max_seq_len} the model reads; "
                "give shorter rows, or make its context longer first (`longer:` in a recipe)"
            )
        x_BTD = self.embedding(tokens_BT)
        if cache is None:
            return self.call(self.norm, self.run_blocks(x_BTD, documents_BT))
        positions_BT = cache.positions(tokens_BT.shape[1])
        kv_len = cache.cache_len if kv_len is None else kv_len
        cos, sin = self.cos_sin(positions_BT, positions_BT[:, -1] + 1)
        cos_sin = cos[:, None], sin[:, None]
        inputs = LayerInputs(self.shape, cos_sin, partial(cache.mask, positions_BT, kv_len), kv_len)
        for layer, block in enumerate(self.blocks):
            cos, sin, mask = inputs.of(layer)
            view_len = cache.cache_len if mask is None else kv_len  # a view that never changes is compiled once
            x_BTD = (call or call_eager)(block, x_BTD, cos, sin, mask, cache.layer(layer, positions_BT, view_len))
        return self.norm(x_BTD)

    def cos_sin(self, positions: slice | Tensor, length: int | Tensor) -> tuple[Tensor, Tensor]:
        """Cosine and sine at positions, [T] or [B, T], of sequences of `length`, or of lengths [B]."""
        return rope_at(self.shape, (self.cos_TE, self.sin_TE), positions, length)

    def run_blocks(self, x_BTD: Tensor, documents_BT: Tensor | None) -> Tensor:
        """`x` after all blocks this model holds, over whole sequences."""
        tokens = x_BTD.shape[1]
        inputs = LayerInputs(
            self.shape,
            self.cos_sin(self.attention_backend.positions(tokens), tokens),
            partial(make_mask, self.attention_backend, x_BTD, documents_BT),
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
        cache: PagedKVCache | None = None,
        finish: Finish | None = None,
    ) -> Any:
        """Logits in fp32: [B, T, V]; or what `finish` makes of the last states and the output matrix."""
        hidden_BTD = self.hidden_states(tokens_BT, documents_BT=documents_BT, cache=cache)
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
        for module in (*block.attention.children(), *block.feed_forward.children()):  # type: ignore[union-attr]
            if isinstance(module, nn.Linear):
                yield module.weight


# Of each kind of module, exactly: the parts and weights its `forward` reads.
_READS: dict[type[nn.Module], frozenset[str]] = {
    RMSNorm: frozenset({"weight"}),
    Attention: frozenset({"query", "key", "value", "output", "query_norm", "key_norm"}),
    FeedForward: frozenset({"gate", "up", "down"}),
    TransformerBlock: frozenset({"attention_norm", "attention", "feed_forward_norm", "feed_forward"}),
    Transformer: frozenset({"embedding", "blocks", "norm", "output"}),
}


def check_eager(model: nn.Module) -> None:
    """Raises ArtifactError, which names the weight, when `model` holds one that calling its parts would leave out.

    A subclass, or a module of another kind, reads what it has; an output's bias is not read, because losses take
    the matrix alone.
    """
    for path, module in model.named_modules():
        read_names = _READS.get(type(module))
        names = [*(n for n, _ in module.named_parameters(recurse=False)), *(n for n, _ in module.named_children())]
        unread = [] if read_names is None else [name for name in names if name not in read_names]
        output = getattr(module, "output", None)  # a reward model's trunk has none
        if type(module) is Transformer and isinstance(output, nn.Linear) and output.bias is not None:
            unread.append("output.bias")
        if unread:
            name = f"{path}.{unread[0]}" if path else unread[0]
            raise ArtifactError(
                f"{name} is {describe_tensor(name)}, which a {type(module).__name__} does not read; bring a model "
                "without it"
            )


def initialize(model: nn.Module, *, std: float, layers: int, generator: torch.Generator) -> None:
    """Draws every matrix from N(0, std), the two that write to the residual stream from N(0, std / sqrt(2L)).

    The report does not state its initialisation; the scaling is GPT-2's. Norms start at one, biases at zero.
    """
    shapes = {name: weight.shape for name, weight in model.named_parameters()}
    weights = dict(model.named_parameters())
    for name, value in _draw_weights(shapes, std, layers, generator):
        with torch.no_grad():
            weights[name].copy_(value)


def initial_weights(shape: Shape, *, std: float, generator: torch.Generator) -> Iterator[tuple[str, Tensor]]:
    """What `initialize` gives a model of `shape`, weight after weight, for devices that hold a part of each."""
    with torch.device("meta"):
        shapes = {name: weight.shape for name, weight in Transformer(shape).named_parameters()}
    yield from _draw_weights(shapes, std, shape.n_layers, generator)


def _draw_weights(
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

    def load_module(module: nn.Module, prefix: str) -> nn.Module:
        return assign_weights(module, {name: read(f"{prefix}.{name}").float() for name, _ in module.named_parameters()})

    tokens = tokens_BT.shape[1]
    cos_sin = rope_tables(tokens, shape.head_dim, shape.rope_theta, shape.rope_scaling)
    embedding = read("embedding.weight").float()
    x_BTD = F.embedding(tokens_BT, embedding)
    inputs = LayerInputs(shape, cos_sin, partial(make_mask, Sdpa(), x_BTD, None), tokens)
    for layer in range(shape.n_layers):
        with torch.device("meta"):
            block = TransformerBlock(shape)
        x_BTD = load_module(block, f"blocks.{layer}")(x_BTD, *inputs.of(layer))
    x_BTD = load_module(RMSNorm(shape.dim, shape.norm_eps), "norm")(x_BTD)
    return F.linear(x_BTD, embedding if shape.tied_output else read("output.weight").float())


def copy_in(model: Transformer, dtype: torch.dtype) -> Transformer:
    """A copy of `model` with its weights in `dtype`, on the same device and without what training added to it; tables
    of positions stay fp32."""
    weights = {name: weight.detach().to(dtype, copy=True) for name, weight in model.named_parameters()}
    return model_of(model.shape, weights)


def model_of(shape: Shape, weights: dict[str, Tensor]) -> Transformer:
    """A model of `shape` with these weights by name, not copied, where they lie."""
    with torch.device("meta"):
        model = Transformer(shape)
    assign_weights(model, weights)
    model.set_rope(shape)
    return model


def assign_weights(module: nn.Module, weights: dict[str, Tensor]) -> nn.Module:
    """`module` with these tensors as its weights, not copied; it may have been made without memory."""
    module.load_state_dict(weights, assign=True)
    return module
