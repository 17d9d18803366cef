"""What a model computes, apart from its sizes: the features of its architecture, by name."""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import fields
from typing import Any, Literal

from herd.core.errors import SettingsError
from herd.core.settings import NonNegativeInt, PositiveFloat, PositiveInt, settings

RopeType = Literal["linear", "dynamic", "yarn", "llama3", "longrope"]

# Fields of RopeScaling that a type reads; `factor` and `original_max_position_embeddings` are every type's.
ROPE_FIELDS: dict[str, frozenset[str]] = {
    "linear": frozenset(),
    "dynamic": frozenset(),
    "yarn": frozenset({"beta_fast", "beta_slow", "truncate", "attention_factor"}),
    "llama3": frozenset({"low_freq_factor", "high_freq_factor"}),
    "longrope": frozenset({"short_factor", "long_factor", "attention_factor"}),
}


@settings
class RopeScaling:
    """How rotary positions change so that a model reads more than it was first trained on.

    rope_type: as transformers names it. original_max_position_embeddings: tokens that the model was first trained on.
    low_freq_factor, high_freq_factor: of llama3, between which it blends; beta_fast, beta_slow: the same of yarn, in
    turns; truncate: whether these bounds are whole pairs. short_factor, long_factor: of longrope, of each pair of
    dimensions, in sequences up to `original_max_position_embeddings` and in longer ones. attention_factor: what cosines
    and sines of yarn and longrope are multiplied by; absent, it follows from `factor`.

    Source: llama-models, `apply_scaling` (llama3); Peng et al. 2023 (yarn, and dynamic in 3.2); Ding et al. 2024
    (longrope); Chen et al. 2023 (linear).
    """

    rope_type: RopeType = "llama3"
    factor: PositiveFloat = 8.0
    original_max_position_embeddings: PositiveInt = 8192
    low_freq_factor: PositiveFloat = 1.0
    high_freq_factor: PositiveFloat = 4.0
    beta_fast: PositiveFloat = 32.0
    beta_slow: PositiveFloat = 1.0
    truncate: bool = True
    attention_factor: PositiveFloat | None = None
    short_factor: tuple[PositiveFloat, ...] = ()
    long_factor: tuple[PositiveFloat, ...] = ()

    def __post_init__(self) -> None:
        foreign = frozenset().union(*ROPE_FIELDS.values()) - ROPE_FIELDS[self.rope_type]
        changed = [
            field.name for field in fields(self) if field.name in foreign and getattr(self, field.name) != field.default
        ]
        if changed:
            raise SettingsError(f"{changed[0]} is nothing that rope_type {self.rope_type!r} reads; leave it out")
        if self.rope_type == "llama3" and not self.high_freq_factor > self.low_freq_factor:
            raise SettingsError(
                f"high_freq_factor {self.high_freq_factor} is not above low_freq_factor {self.low_freq_factor}; Llama "
                "3.1 has 4 and 1"
            )
        if self.rope_type == "longrope" and not 0 < len(self.short_factor) == len(self.long_factor):
            raise SettingsError(
                "longrope needs short_factor and long_factor to be as long as each other, a number a pair"
            )

    @property
    def depends_on_length(self) -> bool:
        """Whether a sequence's length decides how its positions turn."""
        return self.rope_type in ("dynamic", "longrope")

    @property
    def attention_scaling(self) -> float:
        """What cosines and sines are multiplied by."""
        if self.attention_factor is not None:
            return self.attention_factor
        if self.factor <= 1:
            return 1.0
        if self.rope_type == "yarn":
            return 0.1 * math.log(self.factor) + 1.0
        if self.rope_type == "longrope":
            return math.sqrt(1 + math.log(self.factor) / math.log(self.original_max_position_embeddings))
        return 1.0

    def to_max_seq_len(self, max_position_embeddings: int) -> int:
        """The longest sequence a model reads whose configuration says `max_position_embeddings`.

        Some configurations leave it at what the model was first trained on. Source: vLLM,
        `_get_and_verify_max_len`.
        """
        stretched = self.rope_type in ("linear", "dynamic") or (
            self.rope_type == "yarn" and max_position_embeddings <= self.original_max_position_embeddings
        )
        return round(self.original_max_position_embeddings * self.factor) if stretched else max_position_embeddings

    def to_max_position_embeddings(self, max_seq_len: int) -> int:
        """The inverse of `to_max_seq_len`."""
        return self.original_max_position_embeddings if self.rope_type in ("linear", "dynamic") else max_seq_len


@settings
class Architecture:
    """What a model computes beside what every one of them does; the defaults are Llama 3's.

    head_dim: where it is not the width over the heads. qkv_bias, output_bias, ffn_bias: added to queries, keys and
    values, to attention's output, and to the feed-forward's three products. qk_norm: an RMSNorm of queries and keys
    before they turn, over each head or over all heads at once. post_norm: norms stand after attention and feed-forward
    instead of before them. sliding_window: how many tokens a token looks at, itself among them; window_layers: in these
    layers, all when absent. nope_layers: layers whose queries and keys do not turn with their positions.

    Source: Yang et al. 2024 (Qwen2, qkv_bias); Yang et al. 2025 (Qwen3, qk_norm by head); OLMo et al. 2024 (OLMo 2,
    qk_norm by width, post_norm); Jiang et al. 2023 (Mistral, sliding_window); Bakouch et al. 2025 (SmolLM3,
    nope_layers).
    """

    head_dim: PositiveInt | None = None
    qkv_bias: bool = False
    output_bias: bool = False
    ffn_bias: bool = False
    qk_norm: Literal["none", "head", "width"] = "none"
    post_norm: bool = False
    sliding_window: PositiveInt | None = None
    window_layers: tuple[NonNegativeInt, ...] | None = None
    nope_layers: tuple[NonNegativeInt, ...] = ()

    def check_layers(self, n_layers: int) -> None:
        """Raises SettingsError when it speaks of layers that are not there."""
        for name in ("window_layers", "nope_layers"):
            beyond = [number for number in getattr(self, name) or () if number >= n_layers]
            if beyond:
                raise SettingsError(f"{name} has {beyond[0]}, and the {n_layers} layers are numbered from 0")
        if self.window_layers is not None and self.sliding_window is None:
            raise SettingsError("window_layers say where a sliding_window is; give that too, or leave them out")


# Every feature that a model may have beside plain Llama's, in words.
FEATURES: dict[str, str] = {
    "head_dim": "heads that are not as wide as the width over their number",
    "qkv_bias": "a bias of queries, keys and values",
    "output_bias": "a bias of attention's output",
    "ffn_bias": "biases of the feed-forward",
    "qk_norm_head": "a norm of queries and keys by head",
    "qk_norm_width": "a norm of queries and keys over all heads",
    "post_norm": "norms after attention and feed-forward",
    "sliding_window": "a sliding window",
    "nope": "layers without positions",
    "tied_output": "an output tied to the embedding",
    "rope_linear": "rope scaling 'linear'",
    "rope_dynamic": "rope scaling 'dynamic'",
    "rope_yarn": "rope scaling 'yarn'",
    "rope_llama3": "rope scaling 'llama3'",
    "rope_longrope": "rope scaling 'longrope'",
}
ALL_FEATURES = frozenset(FEATURES)
# Those that lie in the tables of cosines and sines, whatever computes with them.
ROPE_TABLE_FEATURES = frozenset({"rope_linear", "rope_yarn", "rope_llama3"})
# Those that read other tables in one layer, or for one length, than another.
LAYER_OR_LENGTH_FEATURES = frozenset({"nope", "rope_dynamic", "rope_longrope"})
# What changes nothing about the parts of a layer.
SIZE_FEATURES = frozenset({"head_dim", "tied_output"})


def features(architecture: Architecture, rope: RopeScaling | None, *, tied_output: bool) -> frozenset[str]:
    """Names of the features that a model has."""
    flags: dict[str, Any] = {
        "head_dim": architecture.head_dim is not None,
        "qkv_bias": architecture.qkv_bias,
        "output_bias": architecture.output_bias,
        "ffn_bias": architecture.ffn_bias,
        "qk_norm_head": architecture.qk_norm == "head",
        "qk_norm_width": architecture.qk_norm == "width",
        "post_norm": architecture.post_norm,
        "sliding_window": architecture.sliding_window is not None,
        "nope": architecture.nope_layers,
        "tied_output": tied_output,
    }
    names = {name for name, value in flags.items() if value}
    return frozenset(names if rope is None else names | {f"rope_{rope.rope_type}"})


def missing_features(supported: Collection[str], required: Collection[str]) -> str:
    """The features that are wanted and not had, in words; empty where none is."""
    return ", ".join(FEATURES[name] for name in FEATURES if name in required and name not in supported)
