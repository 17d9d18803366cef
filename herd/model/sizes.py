"""Shapes of models, and what follows from a shape alone: weights, FLOPs, cache bytes."""

from __future__ import annotations

from dataclasses import fields
from typing import Annotated

from herd.core.errors import SettingsError, did_you_mean
from herd.core.settings import BeforeValidator, Positive, Rate, dump, settings
from herd.model.architecture import Architecture, RopeScaling, features

_LONGEST = 1 << 27  # tokens of a sequence, more than any model was trained for
_FEW = 1024  # so many numbers are tried for a hint


@settings
class Size:
    """The numbers of one model size. tied_output: whether the output is the embedding's own matrix. architecture: what
    it computes beside plain Llama.

    Source: Llama 3, table 3; llama-models `args.py` for the constants.
    """

    width: Positive
    layers: Positive
    heads: Positive
    kv_heads: Positive
    hidden: Positive
    rope_theta: Rate = 500_000.0
    rope_scaling: RopeScaling | None = None
    norm_eps: Rate = 1e-5
    tied_output: bool = False
    architecture: Architecture = Architecture()

    def __post_init__(self) -> None:
        self.architecture.check_layers(self.layers)
        if self.architecture.head_width is None and self.width % self.heads:
            near = max(self.heads, round(self.width / self.heads) * self.heads)
            raise SettingsError(f"width {self.width} is not a multiple of heads {self.heads}; try width {near}")
        if self.head_width % 2:
            raise SettingsError(
                f"width {self.width} / heads {self.heads} is odd; rotary positions need even; try {2 * self.heads}"
                if self.architecture.head_width is None
                else f"head_width {self.head_width} is odd; rotary positions need even; try {self.head_width + 1}"
            )
        if self.heads % self.kv_heads:
            near = next(n for n in range(min(self.kv_heads, _FEW), 0, -1) if self.heads % n == 0)
            raise SettingsError(
                f"heads {self.heads} is not a multiple of kv_heads {self.kv_heads}; try kv_heads {near}"
            )
        factors = self.rope_scaling.short_factors if self.rope_scaling else ()
        if factors and len(factors) != self.head_width // 2:
            raise SettingsError(
                f"longrope has {len(factors)} factors and heads have {self.head_width // 2} pairs of dimensions; give "
                "one for each"
            )

    @property
    def turns_by_length(self) -> bool:
        """Whether a sequence's length decides how its positions turn."""
        return self.rope_scaling is not None and self.rope_scaling.by_length

    @property
    def head_width(self) -> int:
        return self.architecture.head_width or self.width // self.heads

    @property
    def features(self) -> frozenset[str]:
        """Names of what it computes beside plain Llama: of FEATURES."""
        return features(self.architecture, self.rope_scaling, tied_output=self.tied_output)

    def window(self, layer: int) -> int | None:
        """How many tokens a token of this layer looks at; None where that is all before it."""
        layers = self.architecture.window_layers
        return self.architecture.sliding_window if layers is None or layer in layers else None

    def turns(self, layer: int) -> bool:
        """Whether queries and keys of this layer turn with their positions."""
        return layer not in self.architecture.nope_layers

    def shape(self, *, vocabulary: int, context: int = 8192) -> Shape:
        """A model of this size for a vocabulary and a context."""
        numbers = {field.name: getattr(self, field.name) for field in fields(self)}
        return Shape(vocabulary=vocabulary, context=context, **numbers)

    @property
    def attention_weights(self) -> int:
        """Weights of one layer's four projections."""
        return 2 * self.width * (self.heads + self.kv_heads) * self.head_width

    @property
    def feed_forward_weights(self) -> int:
        return 3 * self.width * self.hidden


@settings
class Shape(Size):
    """Everything that decides a model's function apart from its weights.

    vocabulary: rows of the embedding, control tokens included. context: the longest sequence it reads.
    """

    vocabulary: Positive
    context: Positive = 8192

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.context > _LONGEST:
            raise SettingsError(f"context is {self.context:,}; herd reads up to {_LONGEST:,}: give a smaller number")
        scaling = self.rope_scaling
        # As a configuration on disk would be read: it says these numbers and not the context.
        reads = self.context if scaling is None else scaling.reads(scaling.positions(self.context))
        if scaling is not None and reads != self.context:
            raise SettingsError(
                f"rope scaling {scaling.rope_type!r} by {scaling.factor:g} of {scaling.original_context:,} tokens "
                f"reads {reads:,}, and context is {self.context:,}; set factor or original_context so that they agree"
            )

    @property
    def weights(self) -> int:
        """All weights; a tied output counts once."""
        own, queries, keys = self.architecture, self.heads * self.head_width, self.kv_heads * self.head_width
        block = self.attention_weights + self.feed_forward_weights + 2 * self.width
        block += own.qkv_bias * (queries + 2 * keys) + own.output_bias * self.width
        block += own.ffn_bias * (2 * self.hidden + self.width)
        block += {"none": 0, "head": 2 * self.head_width, "width": queries + keys}[own.qk_norm]
        tables = 1 if self.tied_output else 2
        return self.layers * block + tables * self.vocabulary * self.width + self.width

    def forward_flops(self, tokens: int) -> float:
        """FLOPs per token of one forward pass over a causal sequence of `tokens`.

        A multiplication and an addition count as two; causal attention counts half of the square, or of a window what
        lies inside.
        """
        matrices = self.layers * (self.attention_weights + self.feed_forward_weights) + self.vocabulary * self.width
        window, inside = self.architecture.sliding_window, self.architecture.window_layers
        windows = 0 if window is None else self.layers if inside is None else len(inside)
        # Twice the tokens that a token looks at on average, over all layers.
        square = tokens * (self.layers - windows) + windows * _twice_seen(tokens, window or tokens)
        return 2 * matrices + 2 * self.heads * self.head_width * square

    def training_flops(self, tokens: int) -> float:
        """FLOPs per token of forward and backward."""
        return 3 * self.forward_flops(tokens)

    def cache_bytes(self, bytes_per_value: int) -> int:
        """Bytes of keys and values per token."""
        return 2 * self.layers * self.kv_heads * self.head_width * bytes_per_value


def _twice_seen(tokens: int, window: int) -> float:
    """Twice the tokens that a token of a sequence looks at on average."""
    return tokens if window >= tokens else 2 * window - window**2 / tokens


LLAMA_VOCABULARY = 128_256  # 128,000 byte pairs and 256 control tokens

_LONG = RopeScaling()  # 3.1's, from 8k to 128k
_LONG_SMALL = RopeScaling(factor=32.0)  # 3.2's

# The report's three, the released 3.1 with stretched positions, 3.2's small ones (their model cards and
# configurations), and ours for a laptop: `tiny` is what the tiny recipe trains, 1m and 10m what is timed.
SIZES: dict[str, Size] = {
    "8b": Size(width=4096, layers=32, heads=32, kv_heads=8, hidden=14336),
    "70b": Size(width=8192, layers=80, heads=64, kv_heads=8, hidden=28672),
    "405b": Size(width=16384, layers=126, heads=128, kv_heads=8, hidden=53248),
    "3.1-8b": Size(width=4096, layers=32, heads=32, kv_heads=8, hidden=14336, rope_scaling=_LONG),
    "3.1-70b": Size(width=8192, layers=80, heads=64, kv_heads=8, hidden=28672, rope_scaling=_LONG),
    "3.1-405b": Size(width=16384, layers=126, heads=128, kv_heads=8, hidden=53248, rope_scaling=_LONG),
    "3.2-1b": Size(
        width=2048, layers=16, heads=32, kv_heads=8, hidden=8192, rope_scaling=_LONG_SMALL, tied_output=True
    ),
    "3.2-3b": Size(
        width=3072, layers=28, heads=24, kv_heads=8, hidden=8192, rope_scaling=_LONG_SMALL, tied_output=True
    ),
    "tiny": Size(width=128, layers=4, heads=4, kv_heads=2, hidden=352),
    "1m": Size(width=128, layers=4, heads=4, kv_heads=2, hidden=384),
    "10m": Size(width=384, layers=6, heads=6, kv_heads=2, hidden=1024),
}


def size(name: str) -> Size:
    """The size called `name`. Raises SettingsError with the nearest name."""
    if name not in SIZES:
        raise SettingsError(f"{name!r} is no model size{did_you_mean(name, SIZES)}")
    return SIZES[name]


def _named(value: object) -> object:
    if not isinstance(value, str):
        return _with_tuples(value)
    try:
        return _with_tuples(dump(size(value)))
    except SettingsError as fault:
        raise ValueError(str(fault)) from None


def _with_tuples(value: object) -> object:
    """What a function has seen is no JSON any more to pydantic, which then takes no list for a tuple."""
    if isinstance(value, dict):
        return {key: _with_tuples(inner) for key, inner in value.items()}
    return tuple(map(_with_tuples, value)) if isinstance(value, list) else value


# A size in a recipe: its numbers, or the name of one of SIZES.
SizeOrName = Annotated[Size, BeforeValidator(_named)]
