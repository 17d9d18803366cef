"""A model that only reads, on a GPU: a new token of few rows takes five kernels a layer, which take weights once."""

from __future__ import annotations

import importlib.util
import itertools
from typing import Any

import torch
from torch import Tensor, nn

from herd.model.accounting import check_features, check_weights_read, unread_weights
from herd.model.architecture import ROPE_TABLE_FEATURES, SIZE_FEATURES
from herd.model.attention import Attention
from herd.model.cache import PagedKVCache
from herd.model.paged import attend_blocks, next_power_of_two, triton_kernels
from herd.model.transformer import Call, FeedForward, RMSNorm, Transformer, plain_weights

ROWS_AT_ONCE = 4  # beyond these a library's products, which put rows side by side, are faster
_OUTPUTS, _DEPTH = 2, 2048  # rows and columns of a matrix that a program holds at a time
# All layers read one pair of tables.
SUPPORTED_FEATURES = SIZE_FEATURES | ROPE_TABLE_FEATURES


def streamable(model: nn.Module) -> bool:
    """Whether the kernels can read these weights: whole, plain, on a GPU, and Triton there to compile them."""
    if type(model) is not Transformer or model.embedding.weight.device.type != "cuda":
        return False
    if not model.shape.features <= SUPPORTED_FEATURES:
        return False
    linear = [part for part in model.modules() if isinstance(part, nn.Linear)]
    block_layers = itertools.chain.from_iterable(_linear(block) for block in model.blocks)
    return (
        importlib.util.find_spec("triton") is not None
        and all(type(layer) is nn.Linear for layer in linear)
        and len({(weight.device.type, weight.dtype) for weight in model.parameters()}) == 1
        and all(len(layer.weight) % _OUTPUTS == 0 for layer in block_layers)
        and not unread_weights(model, plain_weights(model))
    )


def _linear(block: nn.Module) -> list[nn.Linear]:
    return [part for part in block.modules() if isinstance(part, nn.Linear)]


class StreamedModel:
    """`model`, whose weights are read where they are. Raises ArtifactError for one, or a feature, that would be left
    out."""

    def __init__(self, model: Transformer) -> None:
        check_features("the streaming back-end", SUPPORTED_FEATURES, model.shape.features)
        check_weights_read("the streaming back-end", model, plain_weights(model))
        self.model, self.shape, self.embedding = model, model.shape, model.embedding

    def takes(self, rows: int) -> bool:
        """Whether a token of so many rows is read by these kernels."""
        return rows <= ROWS_AT_ONCE

    def hidden_states(
        self, tokens_BT: Tensor, *, cache: PagedKVCache, kv_len: int | None = None, call: Call | None = None
    ) -> Tensor:
        """As the model's own; keys and values go into `cache`."""
        if tokens_BT.shape[1] > 1 or not self.takes(len(tokens_BT)):
            return self.model.hidden_states(tokens_BT, cache=cache, kv_len=kv_len, call=call)
        x_BD = self.embedding(tokens_BT[:, 0])
        for number, block in enumerate(self.model.blocks):
            attention: Any = block.attention
            forward: Any = block.feed_forward
            qkv = self._qkv(x_BD, block.attention_norm, attention)  # type: ignore[arg-type]
            x_BD = _project(self._attend(qkv, cache, number), (attention.output.weight,), added=x_BD)
            x_BD = self._feed_forward(x_BD, block.feed_forward_norm, forward)  # type: ignore[arg-type]
        return _norm(x_BD, self.model.norm)[:, None]

    def logits(self, hidden: Tensor) -> Tensor:
        """Logits in fp32 of states after the final norm: [B, D] to [B, V]."""
        if not self.takes(len(hidden)):
            return self.model.logits(hidden)
        return _project(hidden, (self.model.output_weight,), kind=torch.float32)

    def _qkv(self, x_BD: Tensor, gain: RMSNorm, attention: Attention) -> Tensor:
        weights = attention.query.weight, attention.key.weight, attention.value.weight
        return _project(x_BD, weights, norm=gain)

    def _feed_forward(self, x_BD: Tensor, gain: RMSNorm, forward: FeedForward) -> Tensor:
        passed = _project(x_BD, (forward.gate.weight, forward.up.weight), norm=gain, gated=True)
        return _project(passed, (forward.down.weight,), added=x_BD)

    def _attend(self, qkv: Tensor, cache: PagedKVCache, layer: int) -> Tensor:
        """What attention gives, before its output's product: [B, D]."""
        cache_tensors = cache.keys_LBGSE[layer], cache.values_LBGSE[layer], cache.table_BN, cache.lengths_B
        return attend_blocks(qkv, *cache_tensors, cos_sin=(self.model.cos_TE, self.model.sin_TE))


def _project(
    x_BD: Tensor, weights: tuple[Tensor, ...], *, norm: RMSNorm | None = None, gated: bool = False,
    added: Tensor | None = None, kind: torch.dtype | None = None,
) -> Tensor:  # fmt: skip
    """x times the weights, one below the other."""
    inputs, of_a = x_BD.shape[1], len(weights[0])
    outputs = of_a if gated else sum(map(len, weights))
    rows = len(x_BD)
    out = x_BD.new_empty(rows, outputs, dtype=kind or x_BD.dtype)
    a, b, c = (*weights, *weights[:1] * (3 - len(weights)))
    gain, eps = (x_BD, 0.0) if norm is None else (norm.weight, norm.eps)
    triton_kernels().project[(rows * -(-outputs // _OUTPUTS),)](
        x_BD, gain, a, b, c, out if added is None else added, out, eps, rows, inputs, of_a, len(b), outputs,
        NORM=norm is not None, GATED=gated, ADDED=added is not None, ROWS=_OUTPUTS,
        DEPTH=min(_DEPTH, next_power_of_two(inputs)),
    )  # fmt: skip
    return out


def _norm(x_BD: Tensor, norm: RMSNorm) -> Tensor:
    out, inputs = torch.empty_like(x_BD), x_BD.shape[1]
    triton_kernels().norm[(len(x_BD),)](x_BD, norm.weight, out, norm.eps, inputs, DEPTH=next_power_of_two(inputs))
    return out
