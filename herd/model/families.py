"""Families of models, by their names in transformers and llama.cpp: the features each has, and how its configuration
says so."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from herd.model.architecture import IN_TABLES, OF_SIZES, Architecture
from herd.model.sizes import Shape

_BIASES = frozenset({"qkv_bias", "output_bias"})  # which one field, `attention_bias`, turns on
_ROPE = IN_TABLES | {"rope_dynamic", "rope_longrope"}
_ANY = OF_SIZES | _ROPE
# In llama.cpp only the architecture `llama` reads factors of pairs.
_GGUF_ANY = OF_SIZES | {"rope_linear", "rope_yarn"}


@dataclass(frozen=True)
class Family:
    """A `model_type` of transformers.

    classes: what its classes' names begin with. may: features that a field of its configuration turns on. always: those
    that its code has without a field. defaults: of fields, where they are not Llama's. gguf: llama.cpp's name of the
    architecture; gguf_may: features that its code has there; gguf_pairs: whether dimensions 2i and 2i + 1 turn there.
    Source: transformers' configurations; llama.cpp's `llama-model.cpp` and `convert_hf_to_gguf.py`.
    """

    model_type: str
    classes: str
    may: frozenset[str]
    always: frozenset[str] = frozenset()
    defaults: Mapping[str, Any] = field(default_factory=dict[str, Any])
    gguf: str = "llama"
    gguf_may: frozenset[str] = frozenset()
    gguf_pairs: bool = True

    def has(self, shape: Shape) -> bool:
        """Whether its code computes a model of this shape, as far as features' names tell."""
        return self.always <= shape.features <= self.may | self.always

    def get(self, config: Mapping[str, Any], name: str, otherwise: Any = None) -> Any:
        """What transformers takes for a field: absent and null are the same."""
        value = config.get(name)
        return self.defaults.get(name, otherwise) if value is None else value


_LLAMA = _ANY | _BIASES | {"ffn_bias"}
# Of several that compute the same, the first is written.
FAMILIES = (
    Family("llama", "Llama", _LLAMA, gguf_may=_LLAMA - {"rope_dynamic"}),
    Family("mistral", "Mistral", _ANY | {"sliding_window"}, gguf_may=_ANY - {"rope_dynamic"}),
    Family(
        "qwen2",
        "Qwen2",
        _ANY | {"sliding_window"},
        always=frozenset({"qkv_bias"}),
        defaults={"use_sliding_window": False, "max_window_layers": 28},
        gguf="qwen2",
        gguf_may=_GGUF_ANY | {"qkv_bias"},
        gguf_pairs=False,
    ),
    Family(
        "qwen3",
        "Qwen3",
        _ANY | _BIASES | {"sliding_window"},
        always=frozenset({"qk_norm_head"}),
        defaults={"use_sliding_window": False, "max_window_layers": 28, "head_dim": 128},
        gguf="qwen3",
        gguf_may=_GGUF_ANY | {"qk_norm_head"},
        gguf_pairs=False,
    ),
    Family(
        "smollm3",
        "SmolLM3",
        _ANY | _BIASES | {"ffn_bias", "nope", "sliding_window"},
        defaults={
            "use_sliding_window": False,
            "no_rope_layer_interval": 4,
            "rope_theta": 2_000_000.0,
            "tie_word_embeddings": True,
        },
        gguf="smollm3",
        gguf_may=_GGUF_ANY | {"nope"},
    ),
    Family(
        "olmo2",
        "Olmo2",
        _ANY | _BIASES,
        always=frozenset({"post_norm", "qk_norm_width"}),
        defaults={"rms_norm_eps": 1e-5},
        gguf="olmo2",
        gguf_may=_GGUF_ANY | {"post_norm", "qk_norm_width"},
        gguf_pairs=False,
    ),
)
BY_TYPE = {family.model_type: family for family in FAMILIES}
# Mistral's models are llama.cpp's `llama`.
BY_GGUF = {family.gguf: family for family in FAMILIES if family.gguf == family.model_type}
# Fields of a configuration that turn on a feature, where a family has that.
FIELDS = {
    "attention_bias": "output_bias",
    "mlp_bias": "ffn_bias",
    "no_rope_layers": "nope",
    "no_rope_layer_interval": "nope",
    "sliding_window": "sliding_window",
    "layer_types": "sliding_window",
}
# What llama.cpp's code for smollm3 does, whatever a file says.
GGUF_NOPE_EVERY = 4


def every(interval: int, layers: int) -> tuple[int, ...]:
    """Each so manieth layer."""
    return tuple(range(interval - 1, layers, interval)) if interval > 0 else ()


def fixed(family: Family) -> dict[str, Any]:
    """Fields of Architecture that a family has always."""
    norms = {"qk_norm_head": "head", "qk_norm_width": "width"}
    return {
        "qkv_bias": "qkv_bias" in family.always,
        "post_norm": "post_norm" in family.always,
        "qk_norm": next((norms[name] for name in norms if name in family.always), "none"),
    }


def architecture_in(family: Family, config: Mapping[str, Any]) -> Architecture:
    """What a configuration turns on. Raises SettingsError or TypeError for what is no such thing."""
    layers, context = config["num_hidden_layers"], config["max_position_embeddings"]
    own, bias = fixed(family), bool(family.get(config, "attention_bias", False))
    if "output_bias" in family.may:
        own |= {"qkv_bias": bias, "output_bias": bias}
    if "ffn_bias" in family.may:
        own["ffn_bias"] = bool(family.get(config, "mlp_bias", False))
    if "nope" in family.may:
        own["nope_layers"] = _nope(family, config, layers)
    if "sliding_window" in family.may:
        own |= _window(family, config, own.get("nope_layers", ()), layers, context)
    width, heads = config["hidden_size"], config["num_attention_heads"]
    head = family.get(config, "head_dim")
    if head is not None and heads and head * heads != width:
        own["head_width"] = head
    return Architecture(**own)


def _nope(family: Family, config: Mapping[str, Any], layers: int) -> tuple[int, ...]:
    turning = config.get("no_rope_layers")
    if turning is None:
        return every(int(family.get(config, "no_rope_layer_interval", 0)), layers)
    return tuple(layer for layer in range(layers) if not turning[layer])


def _window(
    family: Family, config: Mapping[str, Any], still: tuple[int, ...], layers: int, context: int
) -> dict[str, Any]:
    window = family.get(config, "sliding_window") if family.get(config, "use_sliding_window", True) else None
    if window is None or window >= context:
        return {}
    kinds = config.get("layer_types")
    if kinds is not None:
        inside = tuple(layer for layer in range(layers) if kinds[layer] == "sliding_attention")
    elif "nope" in family.may:
        inside = still
    else:
        inside = tuple(range(min(layers, family.get(config, "max_window_layers", 0)), layers))
    if not inside:
        return {}
    return {"sliding_window": window, "window_layers": None if len(inside) == layers else inside}


def fields_of(family: Family, shape: Shape) -> dict[str, Any]:
    """Fields of a configuration that say what `shape` has."""
    own, layers = shape.architecture, range(shape.layers)
    fields: dict[str, Any] = {"head_dim": shape.head_width}
    if "output_bias" in family.may:
        fields["attention_bias"] = own.output_bias
    if "ffn_bias" in family.may:
        fields["mlp_bias"] = own.ffn_bias
    if "nope" in family.may:
        fields["no_rope_layers"] = [int(shape.turns(layer)) for layer in layers]
    if "sliding_window" in family.may:
        fields["sliding_window"] = own.sliding_window
        inside = [shape.window(layer) is not None for layer in layers]
        if "use_sliding_window" in family.defaults:
            kinds = ["sliding_attention" if window else "full_attention" for window in inside]
            first = inside.index(True) if any(inside) else len(layers)
            fields |= {"use_sliding_window": any(inside), "layer_types": kinds, "max_window_layers": first}
    return fields
