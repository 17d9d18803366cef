"""Shapes of models, and what follows from a shape alone: weights, FLOPs, cache bytes."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Annotated, Any

from herd.core.errors import SettingsError, did_you_mean
from herd.core.settings import (
    PositiveFloat,
    PositiveInt,
    build,
    or_name,
    parse_yaml,
    read_yaml,
    settings,
)
from herd.model.architecture import Architecture, RopeScaling, features

_MAX_SEQ_LEN = 1 << 27  # tokens of a sequence, more than any model was trained for
_FEW = 1024  # so many numbers are tried for a hint


@settings
class Size:
    """The numbers of one model size. tied_output: whether the output is the embedding's own matrix. architecture: what
    it computes beside plain Llama.

    Source: Llama 3, table 3; llama-models `args.py` for the constants.
    """

    dim: PositiveInt
    n_layers: PositiveInt
    n_heads: PositiveInt
    n_kv_heads: PositiveInt
    ffn_dim: PositiveInt
    rope_theta: PositiveFloat = 500_000.0
    rope_scaling: RopeScaling | None = None
    norm_eps: PositiveFloat = 1e-5
    tied_output: bool = False
    architecture: Architecture = Architecture()

    def __post_init__(self) -> None:
        self.architecture.check_layers(self.n_layers)
        if self.architecture.head_dim is None and self.dim % self.n_heads:
            near = max(self.n_heads, round(self.dim / self.n_heads) * self.n_heads)
            raise SettingsError(f"dim {self.dim} is not a multiple of n_heads {self.n_heads}; try dim {near}")
        if self.head_dim % 2:
            raise SettingsError(
                f"dim {self.dim} / n_heads {self.n_heads} is odd; rotary positions need even; try {2 * self.n_heads}"
                if self.architecture.head_dim is None
                else f"head_dim {self.head_dim} is odd; rotary positions need even; try {self.head_dim + 1}"
            )
        if self.n_heads % self.n_kv_heads:
            near = next(n for n in range(min(self.n_kv_heads, _FEW), 0, -1) if self.n_heads % n == 0)
            raise SettingsError(
                f"n_heads {self.n_heads} is not a multiple of n_kv_heads {self.n_kv_heads}; try n_kv_heads {near}"
            )
        factors = self.rope_scaling.short_factor if self.rope_scaling else ()
        if factors and len(factors) != self.head_dim // 2:
            raise SettingsError(
                f"longrope has {len(factors)} factors and heads have {self.head_dim // 2} pairs of dimensions; give "
                "one for each"
            )

    @property
    def rope_depends_on_length(self) -> bool:
        """Whether a sequence's length decides how its positions turn."""
        return self.rope_scaling is not None and self.rope_scaling.depends_on_length

    @property
    def head_dim(self) -> int:
        return self.architecture.head_dim or self.dim // self.n_heads

    @property
    def features(self) -> frozenset[str]:
        """Names of what it computes beside plain Llama: of FEATURES."""
        return features(self.architecture, self.rope_scaling, tied_output=self.tied_output)

    def window(self, layer: int) -> int | None:
        """How many tokens a token of this layer looks at; None where that is all before it."""
        layers = self.architecture.window_layers
        return self.architecture.sliding_window if layers is None or layer in layers else None

    def uses_rope(self, layer: int) -> bool:
        """Whether queries and keys of this layer turn with their positions."""
        return layer not in self.architecture.nope_layers

    def shape(self, *, vocab_size: int, max_seq_len: int = 8192) -> Shape:
        """A model of this size for a vocabulary and a context."""
        numbers = {field.name: getattr(self, field.name) for field in fields(self)}
        return Shape(vocab_size=vocab_size, max_seq_len=max_seq_len, **numbers)

    @property
    def attention_params(self) -> int:
        """Weights of one layer's four projections."""
        return 2 * self.dim * (self.n_heads + self.n_kv_heads) * self.head_dim

    @property
    def ffn_params(self) -> int:
        return 3 * self.dim * self.ffn_dim


@settings
class Shape(Size):
    """Everything that decides a model's function apart from its weights.

    vocab_size: rows of the embedding, control tokens included. max_seq_len: the longest sequence it reads.
    """

    vocab_size: PositiveInt
    max_seq_len: PositiveInt = 8192

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.max_seq_len > _MAX_SEQ_LEN:
            raise SettingsError(
                f"max_seq_len is {self.max_seq_len:,}; herd reads up to {_MAX_SEQ_LEN:,}: give a smaller number"
            )
        scaling = self.rope_scaling
        # As a configuration on disk would be read: it says these numbers and not the context.
        implied = (
            self.max_seq_len
            if scaling is None
            else scaling.to_max_seq_len(scaling.to_max_position_embeddings(self.max_seq_len))
        )
        if scaling is not None and implied != self.max_seq_len:
            raise SettingsError(
                f"rope scaling {scaling.rope_type!r} by {scaling.factor:g} of "
                f"{scaling.original_max_position_embeddings:,} tokens reads {implied:,}, and max_seq_len is "
                f"{self.max_seq_len:,}; set factor or original_max_position_embeddings so that they agree"
            )

    @property
    def num_params(self) -> int:
        """All weights; a tied output counts once."""
        architecture, queries, keys = self.architecture, self.n_heads * self.head_dim, self.n_kv_heads * self.head_dim
        block = self.attention_params + self.ffn_params + 2 * self.dim
        block += architecture.qkv_bias * (queries + 2 * keys) + architecture.output_bias * self.dim
        block += architecture.ffn_bias * (2 * self.ffn_dim + self.dim)
        block += {"none": 0, "head": 2 * self.head_dim, "width": queries + keys}[architecture.qk_norm]
        tables = 1 if self.tied_output else 2
        return self.n_layers * block + tables * self.vocab_size * self.dim + self.dim

    def forward_flops(self, tokens: int) -> float:
        """FLOPs per token of one forward pass over a causal sequence of `tokens`.

        A multiplication and an addition count as two; causal attention counts half of the square, or of a window what
        lies inside.
        """
        matrices = self.n_layers * (self.attention_params + self.ffn_params) + self.vocab_size * self.dim
        window, inside = self.architecture.sliding_window, self.architecture.window_layers
        windows = 0 if window is None else self.n_layers if inside is None else len(inside)
        # Twice the tokens that a token looks at on average, over all layers.
        square = tokens * (self.n_layers - windows) + windows * _twice_seen(tokens, window or tokens)
        return 2 * matrices + 2 * self.n_heads * self.head_dim * square

    def training_flops(self, tokens: int) -> float:
        """FLOPs per token of forward and backward."""
        return 3 * self.forward_flops(tokens)

    def cache_bytes(self, bytes_per_value: int) -> int:
        """Bytes of keys and values per token."""
        return 2 * self.n_layers * self.n_kv_heads * self.head_dim * bytes_per_value


def _twice_seen(tokens: int, window: int) -> float:
    """Twice the tokens that a token of a sequence looks at on average."""
    return tokens if window >= tokens else 2 * window - window**2 / tokens


LLAMA_VOCAB_SIZE = 128_256  # 128,000 byte pairs and 256 control tokens

_LONG = RopeScaling()  # 3.1's, from 8k to 128k
_LONG_SMALL = RopeScaling(factor=32.0)  # 3.2's

# The report's three, the released 3.1 with stretched positions, 3.2's small ones (their model cards and
# configurations), and ours: `tiny` is what the tiny recipe trains, 1m and 10m what is timed, and 4m to 1b what
# `herd pretrain` makes of text: 2.5M weights with a vocabulary of 4,352, 32M with 16,384, 151M with 32,768, 1.2B with
# 128,256.
SIZES: dict[str, Size] = {
    "8b": Size(dim=4096, n_layers=32, n_heads=32, n_kv_heads=8, ffn_dim=14336),
    "70b": Size(dim=8192, n_layers=80, n_heads=64, n_kv_heads=8, ffn_dim=28672),
    "405b": Size(dim=16384, n_layers=126, n_heads=128, n_kv_heads=8, ffn_dim=53248),
    "3.1-8b": Size(dim=4096, n_layers=32, n_heads=32, n_kv_heads=8, ffn_dim=14336, rope_scaling=_LONG),
    "3.1-70b": Size(dim=8192, n_layers=80, n_heads=64, n_kv_heads=8, ffn_dim=28672, rope_scaling=_LONG),
    "3.1-405b": Size(dim=16384, n_layers=126, n_heads=128, n_kv_heads=8, ffn_dim=53248, rope_scaling=_LONG),
    "3.2-1b": Size(
        dim=2048, n_layers=16, n_heads=32, n_kv_heads=8, ffn_dim=8192, rope_scaling=_LONG_SMALL, tied_output=True
    ),
    "3.2-3b": Size(
        dim=3072, n_layers=28, n_heads=24, n_kv_heads=8, ffn_dim=8192, rope_scaling=_LONG_SMALL, tied_output=True
    ),
    "tiny": Size(dim=128, n_layers=4, n_heads=4, n_kv_heads=2, ffn_dim=352),
    "1m": Size(dim=128, n_layers=4, n_heads=4, n_kv_heads=2, ffn_dim=384),
    "10m": Size(dim=384, n_layers=6, n_heads=6, n_kv_heads=2, ffn_dim=1024),
    "4m": Size(dim=192, n_layers=4, n_heads=4, n_kv_heads=2, ffn_dim=512, tied_output=True),
    "30m": Size(dim=512, n_layers=8, n_heads=8, n_kv_heads=4, ffn_dim=1408, tied_output=True),
    "150m": Size(dim=768, n_layers=20, n_heads=12, n_kv_heads=4, ffn_dim=2048, tied_output=True),
    "1b": Size(dim=2048, n_layers=16, n_heads=32, n_kv_heads=8, ffn_dim=8192, tied_output=True),
}


def model_size(name: str) -> Size:
    """The size called `name`. Raises SettingsError with the nearest name."""
    if name not in SIZES:
        raise SettingsError(f"{name!r} is no model size{_sizes_near(name)}")
    return SIZES[name]


def _sizes_near(name: str) -> str:
    """The sizes that may be meant: those next to a number of weights, else those of a similar name."""
    wanted = _weights_named(name)
    if wanted is None:
        return did_you_mean(name, SIZES)
    named = sorted((weights, size) for size in SIZES if (weights := _weights_named(size)) is not None)
    below = [size for weights, size in named if weights <= wanted][-1:]
    above = [size for weights, size in named if weights > wanted][:1]
    near = " and ".join(repr(size) for size in (*below, *above))
    return f"; next to it are {near}, or say its numbers, such as width=1024,layers=24"


def _weights_named(name: str) -> float | None:
    """How many weights a name such as `350m` says; None for any other."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([kmbt])", name.lower())
    return float(match[1]) * {"k": 1e3, "m": 1e6, "b": 1e9, "t": 1e12}[match[2]] if match else None


# What a size's numbers are also called on a command line, the name of the setting first.
_SYNONYMS = {
    "width": "dim",
    "layers": "n_layers",
    "heads": "n_heads",
    "kv_heads": "n_kv_heads",
    "ffn": "ffn_dim",
    "tied": "tied_output",
}


def parse_size(text: str) -> Size:
    """The size that a command line names: one of SIZES, its numbers, such as `width=2048,layers=16`, or a YAML file of
    them.

    Where they are not said, heads are 64 wide, four of them share keys and values, and the feed-forward width is 8/3
    of the width, rounded to 256 (Llama 1, section 2.2). Raises SettingsError for what is no size.
    """
    if Path(text).suffix in (".yaml", ".yml"):
        return _filled(read_yaml(Path(text))[0], text)
    return _size_of(text)


def _size_of(text: str) -> Size:
    if "=" not in text:
        return model_size(text)
    numbers: dict[str, Any] = {}
    for part in text.split(","):
        name, equals, value = (piece.strip() for piece in part.partition("="))
        if not (name and equals and value):
            raise SettingsError(f"size {text!r}: {part!r} names no number; write width=2048,layers=16")
        numbers[name] = parse_yaml(value, where=f"size {text!r}")
    return _filled(numbers, f"size {text!r}")


def _filled(numbers: Mapping[str, Any], where: str) -> Size:
    """A size of these numbers, those that are not said by what others are."""
    row: dict[str, Any] = {}
    for name, value in numbers.items():
        setting = _SYNONYMS.get(name, name)
        if setting in row:
            raise SettingsError(f"{where}: {setting} is said twice; say it once")
        row[setting] = value
    for setting, synonym in (("dim", "width"), ("n_layers", "layers")):
        if setting not in row:
            raise SettingsError(f"{where}: says no {synonym}; write width=2048,layers=16")
    width, heads = row["dim"], row.get("n_heads")
    if type(width) is int and width > 0:
        heads = row.setdefault("n_heads", _divisor(width // 2, width // 64))
        row.setdefault("ffn_dim", max(1, round(width * 8 / 3 / 256)) * 256)
    if type(heads) is int and heads > 0:
        row.setdefault("n_kv_heads", _divisor(heads, heads // 4))
    size: Size = build(Size, row, where=where)
    return size


def _divisor(number: int, near: int) -> int:
    """The largest divisor of `number` that is at most `near`; 1 at least."""
    return next((n for n in range(max(1, near), 1, -1) if number % n == 0), 1)


# A size in a recipe: its numbers, the name of one of SIZES, or `width=2048,layers=16`.
SizeOrName = Annotated[Size, or_name(_size_of)]
