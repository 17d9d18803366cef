"""Families of models, by their names in transformers and llama.cpp: the features each has, and how its configuration
says so."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from herd.model.architecture import ROPE_TABLE_FEATURES, SIZE_FEATURES, Architecture
from herd.model.sizes import Shape

_BIASES = frozenset({"qkv_bias", "output_bias"})  # which one field, `attention_bias`, turns on
_ROPE = ROPE_TABLE_FEATURES | {"rope_dynamic", "rope_longrope"}
_ANY = SIZE_FEATURES | _ROPE
# In llama.cpp only the architecture `llama` reads factors of pairs.
_GGUF_ANY = SIZE_FEATURES | {"rope_linear", "rope_yarn"}


@dataclass(frozen=True)
class Family:
    """A `model_type` of transformers.

    class_prefix: what its classes' names begin with. optional_features: features that a field of its configuration
    turns on. required_features: those that its code has without a field. defaults: of fields, where they are not
    Llama's. gguf: llama.cpp's name of the architecture; gguf_features: features that its code has there;
    gguf_rope_interleaved: whether dimensions 2i and 2i + 1 turn there.
    Source: transformers' configurations; llama.cpp's `llama-model.cpp` and `convert_hf_to_gguf.py`.
    """

    model_type: str
    class_prefix: str
    optional_features: frozenset[str]
    required_features: frozenset[str] = frozenset()
    defaults: Mapping[str, Any] = field(default_factory=dict[str, Any])
    gguf: str = "llama"
    gguf_features: frozenset[str] = frozenset()
    gguf_rope_interleaved: bool = True

    def supports(self, shape: Shape) -> bool:
        """Whether its code computes a model of this shape, as far as features' names tell."""
        return self.required_features <= shape.features <= self.optional_features | self.required_features

    def get(self, config: Mapping[str, Any], name: str, default: Any = None) -> Any:
        """What transformers takes for a field: absent and null are the same."""
        value = config.get(name)
        return self.defaults.get(name, default) if value is None else value


_LLAMA = _ANY | _BIASES | {"ffn_bias"}
# Of several that compute the same, the first is written.
FAMILIES = (
    Family("llama", "Llama", _LLAMA, gguf_features=_LLAMA - {"rope_dynamic"}),
    Family("mistral", "Mistral", _ANY | {"sliding_window"}, gguf_features=_ANY - {"rope_dynamic"}),
    Family(
        "qwen2",
        "Qwen2",
        _ANY | {"sliding_window"},
        required_features=frozenset({"qkv_bias"}),
        defaults={"use_sliding_window": False, "max_window_layers": 28},
        gguf="qwen2",
        gguf_features=_GGUF_ANY | {"qkv_bias"},
        gguf_rope_interleaved=False,
    ),
    Family(
        "qwen3",
        "Qwen3",
        _ANY | _BIASES | {"sliding_window"},
        required_features=frozenset({"qk_norm_head"}),
        defaults={"use_sliding_window": False, "max_window_layers": 28, "head_dim": 128},
        gguf="qwen3",
        gguf_features=_GGUF_ANY | {"qk_norm_head"},
        gguf_rope_interleaved=False,
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
        gguf_features=_GGUF_ANY | {"nope"},
    ),
    Family(
        "olmo2",
        "Olmo2",
        _ANY | _BIASES,
        required_features=frozenset({"post_norm", "qk_norm_width"}),
        defaults={"rms_norm_eps": 1e-5},
        gguf="olmo2",
        gguf_features=_GGUF_ANY | {"post_norm", "qk_norm_width"},
        gguf_rope_interleaved=False,
    ),
)
FAMILY_BY_MODEL_TYPE = {family.model_type: family for family in FAMILIES}
# Mistral's models are llama.cpp's `llama`.
FAMILY_BY_GGUF = {family.gguf: family for family in FAMILIES if family.gguf == family.model_type}
# Fields of a configuration that turn on a feature, where a family has that.
FEATURE_FIELDS = {
    "attention_bias": "output_bias",
    "mlp_bias": "ffn_bias",
    "no_rope_layers": "nope",
    "no_rope_layer_interval": "nope",
    "sliding_window": "sliding_window",
    "layer_types": "sliding_window",
}
# What llama.cpp's code for smollm3 does, whatever a file says.
GGUF_NOPE_EVERY = 4


def layers_at_interval(interval: int, n_layers: int) -> tuple[int, ...]:
    """Each so manieth layer."""
    return tuple(range(interval - 1, n_layers, interval)) if interval > 0 else ()


def fixed_fields(family: Family) -> dict[str, Any]:
    """Fields of Architecture that a family has always."""
    norms = {"qk_norm_head": "head", "qk_norm_width": "width"}
    return {
        "qkv_bias": "qkv_bias" in family.required_features,
        "post_norm": "post_norm" in family.required_features,
        "qk_norm": next((norms[name] for name in norms if name in family.required_features), "none"),
    }


def architecture_from_config(family: Family, config: Mapping[str, Any]) -> Architecture:
    """What a configuration turns on. Raises SettingsError or TypeError for what is no such thing."""
    n_layers, max_seq_len = config["num_hidden_layers"], config["max_position_embeddings"]
    fields, bias = fixed_fields(family), bool(family.get(config, "attention_bias", False))
    if "output_bias" in family.optional_features:
        fields |= {"qkv_bias": bias, "output_bias": bias}
    if "ffn_bias" in family.optional_features:
        fields["ffn_bias"] = bool(family.get(config, "mlp_bias", False))
    if "nope" in family.optional_features:
        fields["nope_layers"] = _nope(family, config, n_layers)
    if "sliding_window" in family.optional_features:
        fields |= _window(family, config, fields.get("nope_layers", ()), n_layers, max_seq_len)
    dim, n_heads = config["hidden_size"], config["num_attention_heads"]
    head_dim = family.get(config, "head_dim")
    if head_dim is not None and n_heads and head_dim * n_heads != dim:
        fields["head_dim"] = head_dim
    return Architecture(**fields)


def _nope(family: Family, config: Mapping[str, Any], n_layers: int) -> tuple[int, ...]:
    rope_flags = config.get("no_rope_layers")
    if rope_flags is None:
        return layers_at_interval(int(family.get(config, "no_rope_layer_interval", 0)), n_layers)
    return tuple(layer for layer in range(n_layers) if not rope_flags[layer])


def _window(
    family: Family, config: Mapping[str, Any], nope_layers: tuple[int, ...], n_layers: int, max_seq_len: int
) -> dict[str, Any]:
    window = family.get(config, "sliding_window") if family.get(config, "use_sliding_window", True) else None
    if window is None or window >= max_seq_len:
        return {}
    kinds = config.get("layer_types")
    if kinds is not None:
        window_layers = tuple(layer for layer in range(n_layers) if kinds[layer] == "sliding_attention")
    elif "nope" in family.optional_features:
        window_layers = nope_layers
    else:
        window_layers = tuple(range(min(n_layers, family.get(config, "max_window_layers", 0)), n_layers))
    if not window_layers:
        return {}
    return {"sliding_window": window, "window_layers": None if len(window_layers) == n_layers else window_layers}


def config_fields(family: Family, shape: Shape) -> dict[str, Any]:
    """Fields of a configuration that say what `shape` has."""
    architecture, layers = shape.architecture, range(shape.n_layers)
    fields: dict[str, Any] = {"head_dim": shape.head_dim}
    if "output_bias" in family.optional_features:
        fields["attention_bias"] = architecture.output_bias
    if "ffn_bias" in family.optional_features:
        fields["mlp_bias"] = architecture.ffn_bias
    if "nope" in family.optional_features:
        fields["no_rope_layers"] = [int(shape.uses_rope(layer)) for layer in layers]
    if "sliding_window" in family.optional_features:
        fields["sliding_window"] = architecture.sliding_window
        inside = [shape.window(layer) is not None for layer in layers]
        if "use_sliding_window" in family.defaults:
            kinds = ["sliding_attention" if window else "full_attention" for window in inside]
            first = inside.index(True) if any(inside) else len(layers)
            fields |= {"use_sliding_window": any(inside), "layer_types": kinds, "max_window_layers": first}
    return fields
