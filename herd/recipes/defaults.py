"""Numbers of pre-training for whoever names none: by how many weights a model has, and by how much text there is."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from herd.model.sizes import Size

_LENGTHS = ((256, 256), (512, 512), (1024, 2048), (3072, 4096))  # by width; wider models read 8,192
_VOCABULARIES = ((256, 4096), (512, 16_128), (1024, 32_512))  # by width; wider models have Llama 3's 128,000
_MIN_ROWS = 8  # of a batch
_MIN_STEPS = 500  # which a batch is made small for, as far as its rows allow
CHINCHILLA_TOKENS = 20  # a weight: Hoffmann et al. 2022, as it is mostly quoted


def default_length(size: Size) -> int:
    """Tokens in a row."""
    return next((length for width, length in _LENGTHS if size.dim <= width), 8192)


def base_vocab_size(size: Size) -> int:
    """Base tokens of a vocabulary, few for models whose embedding would be most of them."""
    return next((vocabulary for width, vocabulary in _VOCABULARIES if size.dim <= width), 128_000)


def peak_lr(num_params: int) -> float:
    """The peak rate of a new model: through Llama 3's 8B with 3e-4, falling by the cube root of the weights, which is
    what its three rates do (exponent .337); no more than 1e-2. Source: Llama 3, table 3."""
    return _rounded(min(1e-2, 3e-4 * (8.03e9 / num_params) ** (1 / 3)))


def batch_size_tokens(num_params: int, length: int, tokens: float, devices: int = 1) -> int:
    """Tokens of a batch: 4M at eight billion weights, by the square root of the weights; of a short run so few that it
    takes some hundred steps, but eight rows at least, and as many for every device."""
    wanted = 2 ** round(math.log2(4e6 * math.sqrt(num_params / 8e9)))
    affordable = 2 ** math.floor(math.log2(max(1.0, tokens / _MIN_STEPS)))
    rows = max(_MIN_ROWS, min(wanted, affordable) // length)
    return -(-rows // devices) * devices * length


def later_lengths(lengths: Sequence[int], batch: int, tokens: float, lr: float) -> list[dict[str, Any]]:
    """Stages that make a model read longer rows, one after another, each of at most a tenth of the run's tokens, at a
    tenth of its rate. lr: the peak of the run before."""
    stages = []
    for length in lengths:
        rows = max(1, batch // length)
        steps = max(4, round(tokens / 10 / (rows * length)))
        stages.append(
            {
                "length": length,
                "batch_tokens": rows * length,
                "check_tokens": max(1, steps // 4) * rows * length,
                "checks": 4,
                "lr": _rounded(lr / 10),
            }
        )
    return stages


_LADDER_SHARES = (1 / 250, 1 / 80, 1 / 25)  # of the base's FLOPs; five sizes each make about a quarter of the base
_LADDER_SIZES = 5
# Width, layers, heads: about 48 of width a layer, and a key head for two, as small sizes of `herd.model.sizes` have it.
_LADDER_MODELS: tuple[dict[str, Any], ...] = tuple(
    {"dim": dim, "n_layers": layers, "n_heads": heads, "n_kv_heads": max(1, heads // 2), "ffn_dim": -(-dim // 12) * 32}
    | {"tied_output": True}
    for dim, layers, heads in (
        (32, 1, 2), (64, 1, 2), (96, 2, 2), (128, 3, 2), (192, 4, 4), (256, 5, 4), (384, 8, 6), (512, 10, 8),
        (768, 16, 12), (1024, 20, 16), (1536, 24, 24), (2048, 28, 32), (3072, 32, 48), (4096, 36, 64),
    )
)  # fmt: skip


def ladder_of(size: Size, *, vocab_size: int, length: int, tokens: float) -> dict[str, Any]:
    """A ladder below a base of `size`: three budgets and five sizes around what is best at them, each with its own
    rate. vocab_size: rows of the embedding. tokens: of the base."""
    flops = tokens * size.shape(vocab_size=vocab_size, max_seq_len=length).training_flops(length)
    budgets = [float(f"{flops * share:.2g}") for share in _LADDER_SHARES]
    shapes = [Size(**model).shape(vocab_size=vocab_size, max_seq_len=length) for model in _LADDER_MODELS]
    counts = [shape.num_params for shape in shapes]
    # Hoffmann et al. 2022: 20 tokens a weight and 6 FLOPs a weight and token.
    best = math.sqrt(budgets[1] / (6 * CHINCHILLA_TOKENS))
    middle = min(range(len(counts)), key=lambda place: abs(math.log(counts[place] / best)))
    first = min(max(0, middle - _LADDER_SIZES // 2), len(counts) - _LADDER_SIZES)
    rungs = range(first, first + _LADDER_SIZES)
    rows = min(length, 512)
    batches = [batch_size_tokens(counts[middle], rows, budget / (6 * counts[middle])) for budget in budgets]
    return {
        "budgets": budgets,
        "sizes": [_LADDER_MODELS[place] for place in rungs],
        "length": rows,
        "batch_tokens": batches,
        "lr": [peak_lr(counts[place]) for place in rungs],
        "skip_sizes": True,
    }


def proxy_run(length: int, tokens: float) -> dict[str, Any]:
    """The small runs that a mix is found with."""
    rows = min(length, 256)
    return {
        "size": {"dim": 64, "n_layers": 2, "n_heads": 2, "n_kv_heads": 1, "ffn_dim": 176},
        "length": rows,
        "tokens": int(min(20_000_000, max(200_000, tokens / 50))),
        "batch_tokens": 16 * rows,
        "lr": 1.0e-2,
    }


def _rounded(value: float) -> float:
    """Two digits, as people write rates."""
    return float(f"{value:.2g}")
