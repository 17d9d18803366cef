"""What a model computes, apart from its sizes: the features of its architecture, by name."""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import fields
from typing import Any, Literal

from herd.core.errors import SettingsError
from herd.core.settings import Count, Positive, Rate, settings

RopeType = Literal["linear", "dynamic", "yarn", "llama3", "longrope"]

# Fields of RopeScaling that a type reads; `factor` and `original_context` are every type's.
READS: dict[str, frozenset[str]] = {
    "linear": frozenset(),
    "dynamic": frozenset(),
    "yarn": frozenset({"beta_fast", "beta_slow", "truncate", "attention_factor"}),
    "llama3": frozenset({"low_frequency", "high_frequency"}),
    "longrope": frozenset({"short_factors", "long_factors", "attention_factor"}),
}


@settings
class RopeScaling:
    """How rotary positions change so that a model reads more than it was first trained on.

    rope_type: as transformers names it. original_context: tokens that the model was first trained on. low_frequency,
    high_frequency: of llama3, between which it blends; beta_fast, beta_slow: the same of yarn, in turns; truncate:
    whether these bounds are whole pairs. short_factors, long_factors: of longrope, of each pair of dimensions, in
    sequences up to `original_context` and in longer ones. attention_factor: what cosines and sines of yarn and longrope
    are multiplied by; absent, it follows from `factor`.

    Source: llama-models, `apply_scaling` (llama3); Peng et al. 2023 (yarn, and dynamic in 3.2); Ding et al. 2024
    (longrope); Chen et al. 2023 (linear).
    """

    rope_type: RopeType = "llama3"
    factor: Rate = 8.0
    original_context: Positive = 8192
    low_frequency: Rate = 1.0
    high_frequency: Rate = 4.0
    beta_fast: Rate = 32.0
    beta_slow: Rate = 1.0
    truncate: bool = True
    attention_factor: Rate | None = None
    short_factors: tuple[Rate, ...] = ()
    long_factors: tuple[Rate, ...] = ()

    def __post_init__(self) -> None:
        foreign = frozenset().union(*READS.values()) - READS[self.rope_type]
        changed = [row.name for row in fields(self) if row.name in foreign and getattr(self, row.name) != row.default]
        if changed:
            raise SettingsError(f"{changed[0]} is nothing that rope_type {self.rope_type!r} reads; leave it out")
        if self.rope_type == "llama3" and not self.high_frequency > self.low_frequency:
            raise SettingsError(
                f"high_frequency {self.high_frequency} is not above low_frequency {self.low_frequency}; Llama 3.1 has "
                "4 and 1"
            )
        if self.rope_type == "longrope" and not 0 < len(self.short_factors) == len(self.long_factors):
            raise SettingsError("longrope needs as many short_factors as long_factors, one for each pair of dimensions")

    @property
    def by_length(self) -> bool:
        """Whether a sequence's length decides how its positions turn."""
        return self.rope_type in ("dynamic", "longrope")

    @property
    def magnitude(self) -> float:
        """What cosines and sines are multiplied by."""
        if self.attention_factor is not None:
            return self.attention_factor
        if self.factor <= 1:
            return 1.0
        if self.rope_type == "yarn":
            return 0.1 * math.log(self.factor) + 1.0
        if self.rope_type == "longrope":
            return math.sqrt(1 + math.log(self.factor) / math.log(self.original_context))
        return 1.0

    def reads(self, positions: int) -> int:
        """The longest sequence, where a configuration says `max_position_embeddings` is `positions`.

        Some configurations leave it at what the model was first trained on. Source: vLLM,
        `_get_and_verify_max_len`.
        """
        stretched = self.rope_type in ("linear", "dynamic") or (
            self.rope_type == "yarn" and positions <= self.original_context
        )
        return round(self.original_context * self.factor) if stretched else positions

    def positions(self, context: int) -> int:
        """The inverse of `reads`."""
        return self.original_context if self.rope_type in ("linear", "dynamic") else context


@settings
class Architecture:
    """What a model computes beside what every one of them does; the defaults are Llama 3's.

    head_width: where it is not the width over the heads. qkv_bias, output_bias, ffn_bias: added to queries, keys and
    values, to attention's output, and to the feed-forward's three products. qk_norm: an RMSNorm of queries and keys
    before they turn, over each head or over all heads at once. post_norm: norms stand after attention and feed-forward
    instead of before them. sliding_window: how many tokens a token looks at, itself among them; window_layers: in these
    layers, all when absent. nope_layers: layers whose queries and keys do not turn with their positions.

    Source: Yang et al. 2024 (Qwen2, qkv_bias); Yang et al. 2025 (Qwen3, qk_norm by head); OLMo et al. 2024 (OLMo 2,
    qk_norm by width, post_norm); Jiang et al. 2023 (Mistral, sliding_window); Bakouch et al. 2025 (SmolLM3,
    nope_layers).
    """

    head_width: Positive | None = None
    qkv_bias: bool = False
    output_bias: bool = False
    ffn_bias: bool = False
    qk_norm: Literal["none", "head", "width"] = "none"
    post_norm: bool = False
    sliding_window: Positive | None = None
    window_layers: tuple[Count, ...] | None = None
    nope_layers: tuple[Count, ...] = ()

    def check_layers(self, layers: int) -> None:
        """Raises SettingsError when it speaks of layers that are not there."""
        for name in ("window_layers", "nope_layers"):
            beyond = [number for number in getattr(self, name) or () if number >= layers]
            if beyond:
                raise SettingsError(f"{name} has {beyond[0]}, and the {layers} layers are numbered from 0")
        if self.window_layers is not None and self.sliding_window is None:
            raise SettingsError("window_layers say where a sliding_window is; give that too, or leave them out")


# Every feature that a model may have beside plain Llama's, in words.
FEATURES: dict[str, str] = {
    "head_width": "heads that are not as wide as the width over their number",
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
ALL = frozenset(FEATURES)
# Those that lie in the tables of cosines and sines, whatever computes with them.
IN_TABLES = frozenset({"rope_linear", "rope_yarn", "rope_llama3"})
# Those that read other tables in one layer, or for one length, than another.
BY_LAYER_OR_LENGTH = frozenset({"nope", "rope_dynamic", "rope_longrope"})
# What changes nothing about the parts of a layer.
OF_SIZES = frozenset({"head_width", "tied_output"})


def features(architecture: Architecture, rope: RopeScaling | None, *, tied_output: bool) -> frozenset[str]:
    """Names of the features that a model has."""
    has: dict[str, Any] = {
        "head_width": architecture.head_width is not None,
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
    named = {name for name, value in has.items() if value}
    return frozenset(named if rope is None else named | {f"rope_{rope.rope_type}"})


def lacking(has: Collection[str], wanted: Collection[str]) -> str:
    """The features that are wanted and not had, in words; empty where none is."""
    return ", ".join(FEATURES[name] for name in FEATURES if name in wanted and name not in has)
