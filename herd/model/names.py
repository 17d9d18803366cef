"""Every weight of a model: its name here and in other programs' files, and its shape. One line is one module."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from herd.model.sizes import Shape

Layout = Literal["hugging_face", "gguf", "meta"]


@dataclass(frozen=True)
class Line:
    """A module with a weight, and its names without `.weight`.

    size: of the weight, by letters: V vocabulary, D width, Q and K all heads of queries and of keys, E one head, F
    hidden. bias: the feature with which it has one. when, unless: the feature with, or without, which it is there.
    cut: along which dimension Meta's files of several ranks hold parts.
    """

    ours: str
    hugging_face: str
    gguf: str
    meta: str | None
    size: str
    cut: int | None = None
    bias: str = ""
    when: str = ""
    unless: str = ""


_EMBEDDING = Line("embedding", "model.embed_tokens", "token_embd", "tok_embeddings", "VD", cut=0)
_BLOCK = (
    Line("attention_norm", "input_layernorm", "attn_norm", "attention_norm", "D", unless="post_norm"),
    Line("attention_norm", "post_attention_layernorm", "post_attention_norm", None, "D", when="post_norm"),
    Line("attention.query", "self_attn.q_proj", "attn_q", "attention.wq", "QD", cut=0, bias="qkv_bias"),
    Line("attention.key", "self_attn.k_proj", "attn_k", "attention.wk", "KD", cut=0, bias="qkv_bias"),
    Line("attention.value", "self_attn.v_proj", "attn_v", "attention.wv", "KD", cut=0, bias="qkv_bias"),
    Line("attention.query_norm", "self_attn.q_norm", "attn_q_norm", None, "E", when="qk_norm_head"),
    Line("attention.key_norm", "self_attn.k_norm", "attn_k_norm", None, "E", when="qk_norm_head"),
    Line("attention.query_norm", "self_attn.q_norm", "attn_q_norm", None, "Q", when="qk_norm_width"),
    Line("attention.key_norm", "self_attn.k_norm", "attn_k_norm", None, "K", when="qk_norm_width"),
    Line("attention.output", "self_attn.o_proj", "attn_output", "attention.wo", "DQ", cut=1, bias="output_bias"),
    Line("feed_forward_norm", "post_attention_layernorm", "ffn_norm", "ffn_norm", "D", unless="post_norm"),
    Line("feed_forward_norm", "post_feedforward_layernorm", "post_ffw_norm", None, "D", when="post_norm"),
    Line("feed_forward.gate", "mlp.gate_proj", "ffn_gate", "feed_forward.w1", "FD", cut=0, bias="ffn_bias"),
    Line("feed_forward.up", "mlp.up_proj", "ffn_up", "feed_forward.w3", "FD", cut=0, bias="ffn_bias"),
    Line("feed_forward.down", "mlp.down_proj", "ffn_down", "feed_forward.w2", "DF", cut=1, bias="ffn_bias"),
)
_NORM = Line("norm", "model.norm", "output_norm", "norm", "D")
_OUTPUT = Line("output", "lm_head", "output", "output", "VD", cut=0, unless="tied_output")

# What stands before a block's names, of layer {}.
_BLOCKS = {"ours": "blocks.{}.", "hugging_face": "model.layers.{}.", "gguf": "blk.{}.", "meta": "layers.{}."}
# Finds a layer's number in a tensor's name.
LAYER_PATTERNS: dict[Layout, str] = {
    "hugging_face": r"model\.layers\.(\d+)\.",
    "gguf": r"blk\.(\d+)\.",
    "meta": r"layers\.(\d+)\.",
}


def lines(shape: Shape) -> Iterator[tuple[int | None, Line]]:
    """The lines of a model with the layer each is of, in the order of use."""
    has = shape.features

    def there(line: Line) -> bool:
        return (not line.when or line.when in has) and line.unless not in has

    block = [line for line in _BLOCK if there(line)]
    yield None, _EMBEDDING
    for layer in range(shape.layers):
        yield from ((layer, line) for line in block)
    yield None, _NORM
    if there(_OUTPUT):
        yield None, _OUTPUT


def _name(line: Line, layout: str, layer: int | None) -> str:
    name = getattr(line, layout)
    assert name is not None, f"{layout} has no name for {line.ours}"
    return name if layer is None else _BLOCKS[layout].format(layer) + name


def names(shape: Shape, layout: Layout) -> dict[str, str]:
    """Our name of every weight -> that of `layout`."""
    has, table = shape.features, {}
    for layer, line in lines(shape):
        for kind in ("weight", "bias") if line.bias in has else ("weight",):
            table[f"{_name(line, 'ours', layer)}.{kind}"] = f"{_name(line, layout, layer)}.{kind}"
    return table


def weight_shapes(shape: Shape) -> dict[str, tuple[int, ...]]:
    """Our name of every weight -> its shape, in the order of use."""
    letters = {
        "V": shape.vocabulary,
        "D": shape.width,
        "Q": shape.heads * shape.head_width,
        "K": shape.kv_heads * shape.head_width,
        "E": shape.head_width,
        "F": shape.hidden,
    }
    has, table = shape.features, {}
    for layer, line in lines(shape):
        name, size = _name(line, "ours", layer), tuple(letters[letter] for letter in line.size)
        table[f"{name}.weight"] = size
        if line.bias in has:
            table[f"{name}.bias"] = size[:1]
    return table


def meta_cuts(shape: Shape) -> dict[str, int | None]:
    """Meta's name of every weight -> the dimension along which its ranks' files hold parts; None where each has all."""
    return {f"{_name(line, 'meta', layer)}.weight": line.cut for layer, line in lines(shape)}
