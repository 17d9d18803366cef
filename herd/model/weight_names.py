"""Every weight of a model: its name here and in other programs' files, and its shape. One line is one module."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from herd.model.sizes import Shape

WeightLayout = Literal["hugging_face", "gguf", "meta"]


@dataclass(frozen=True)
class WeightSpec:
    """A module with a weight, and its names without `.weight`.

    dims: of the weight, by letters: V vocabulary, D width, Q and K all heads of queries and of keys, E one head, F
    hidden. bias: the feature with which it has one. when, unless: the feature with, or without, which it is there.
    shard_dim: along which dimension Meta's files of several ranks hold parts.
    """

    ours: str
    hugging_face: str
    gguf: str
    meta: str | None
    dims: str
    shard_dim: int | None = None
    bias: str = ""
    when: str = ""
    unless: str = ""


_EMBEDDING = WeightSpec("embedding", "model.embed_tokens", "token_embd", "tok_embeddings", "VD", shard_dim=0)
_BLOCK = (
    WeightSpec("attention_norm", "input_layernorm", "attn_norm", "attention_norm", "D", unless="post_norm"),
    WeightSpec("attention_norm", "post_attention_layernorm", "post_attention_norm", None, "D", when="post_norm"),
    WeightSpec("attention.query", "self_attn.q_proj", "attn_q", "attention.wq", "QD", shard_dim=0, bias="qkv_bias"),
    WeightSpec("attention.key", "self_attn.k_proj", "attn_k", "attention.wk", "KD", shard_dim=0, bias="qkv_bias"),
    WeightSpec("attention.value", "self_attn.v_proj", "attn_v", "attention.wv", "KD", shard_dim=0, bias="qkv_bias"),
    WeightSpec("attention.query_norm", "self_attn.q_norm", "attn_q_norm", None, "E", when="qk_norm_head"),
    WeightSpec("attention.key_norm", "self_attn.k_norm", "attn_k_norm", None, "E", when="qk_norm_head"),
    WeightSpec("attention.query_norm", "self_attn.q_norm", "attn_q_norm", None, "Q", when="qk_norm_width"),
    WeightSpec("attention.key_norm", "self_attn.k_norm", "attn_k_norm", None, "K", when="qk_norm_width"),
    WeightSpec(
        "attention.output", "self_attn.o_proj", "attn_output", "attention.wo", "DQ", shard_dim=1, bias="output_bias"
    ),
    WeightSpec("feed_forward_norm", "post_attention_layernorm", "ffn_norm", "ffn_norm", "D", unless="post_norm"),
    WeightSpec("feed_forward_norm", "post_feedforward_layernorm", "post_ffw_norm", None, "D", when="post_norm"),
    WeightSpec("feed_forward.gate", "mlp.gate_proj", "ffn_gate", "feed_forward.w1", "FD", shard_dim=0, bias="ffn_bias"),
    WeightSpec("feed_forward.up", "mlp.up_proj", "ffn_up", "feed_forward.w3", "FD", shard_dim=0, bias="ffn_bias"),
    WeightSpec("feed_forward.down", "mlp.down_proj", "ffn_down", "feed_forward.w2", "DF", shard_dim=1, bias="ffn_bias"),
)
_NORM = WeightSpec("norm", "model.norm", "output_norm", "norm", "D")
_OUTPUT = WeightSpec("output", "lm_head", "output", "output", "VD", shard_dim=0, unless="tied_output")

# What stands before a block's names, of layer {}.
_BLOCKS = {"ours": "blocks.{}.", "hugging_face": "model.layers.{}.", "gguf": "blk.{}.", "meta": "layers.{}."}
# Finds a layer's number in a tensor's name.
LAYER_PATTERNS: dict[WeightLayout, str] = {
    "hugging_face": r"model\.layers\.(\d+)\.",
    "gguf": r"blk\.(\d+)\.",
    "meta": r"layers\.(\d+)\.",
}


def weight_specs(shape: Shape) -> Iterator[tuple[int | None, WeightSpec]]:
    """The lines of a model with the layer each is of, in the order of use."""
    features = shape.features

    def present(spec: WeightSpec) -> bool:
        return (not spec.when or spec.when in features) and spec.unless not in features

    block = [spec for spec in _BLOCK if present(spec)]
    yield None, _EMBEDDING
    for layer in range(shape.n_layers):
        yield from ((layer, spec) for spec in block)
    yield None, _NORM
    if present(_OUTPUT):
        yield None, _OUTPUT


def _name(spec: WeightSpec, layout: str, layer: int | None) -> str:
    name = getattr(spec, layout)
    assert name is not None, f"{layout} has no name for {spec.ours}"
    return name if layer is None else _BLOCKS[layout].format(layer) + name


def weight_names(shape: Shape, layout: WeightLayout) -> dict[str, str]:
    """Our name of every weight -> that of `layout`."""
    features, table = shape.features, {}
    for layer, spec in weight_specs(shape):
        for kind in ("weight", "bias") if spec.bias in features else ("weight",):
            table[f"{_name(spec, 'ours', layer)}.{kind}"] = f"{_name(spec, layout, layer)}.{kind}"
    return table


def weight_shapes(shape: Shape) -> dict[str, tuple[int, ...]]:
    """Our name of every weight -> its shape, in the order of use."""
    letters = {
        "V": shape.vocab_size,
        "D": shape.dim,
        "Q": shape.n_heads * shape.head_dim,
        "K": shape.n_kv_heads * shape.head_dim,
        "E": shape.head_dim,
        "F": shape.ffn_dim,
    }
    features, table = shape.features, {}
    for layer, spec in weight_specs(shape):
        name, size = _name(spec, "ours", layer), tuple(letters[letter] for letter in spec.dims)
        table[f"{name}.weight"] = size
        if spec.bias in features:
            table[f"{name}.bias"] = size[:1]
    return table


def meta_shard_dims(shape: Shape) -> dict[str, int | None]:
    """Meta's name of every weight -> the dimension along which its ranks' files hold parts; None where each has all."""
    return {f"{_name(spec, 'meta', layer)}.weight": spec.shard_dim for layer, spec in weight_specs(shape)}
