"""The model written down once more, as formulas in float64, to check what the engine gives.

It shares no code with the model and reads weights as their format lays them out, so that a mistake in a
permutation, a name or a cast shows as other logits.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from herd.model.sizes import Shape
from herd.model.stored import StoredModel

Array = NDArray[np.float64]


def logits(model: StoredModel, tokens: Sequence[int]) -> Array:
    """Logits after every token: [T, V]. One layer's weights are in memory at a time.

    Source: Llama 3, 3.2; llama-models, `model.py`; for what others have beside it, see Architecture.
    """
    shape = model.shape
    architecture = shape.architecture

    def weight(name: str) -> Array:
        return model.raw(name).double().numpy()

    x_TD = weight("embedding.weight")[list(tokens)]
    for layer in range(shape.n_layers):
        here = f"blocks.{layer}."

        def product(x: Array, name: str, *, bias: bool, here: str = here) -> Array:
            y = x @ weight(f"{here}{name}.weight").T
            return y + weight(f"{here}{name}.bias") if bias else y

        def norm(x: Array, name: str, here: str = here) -> Array:
            return _norm(x, weight(f"{here}{name}.weight"), shape)

        y_TD = x_TD if architecture.post_norm else norm(x_TD, "attention_norm")
        q, k, v = (product(y_TD, f"attention.{name}", bias=architecture.qkv_bias) for name in ("query", "key", "value"))
        if architecture.qk_norm == "width":
            q, k = norm(q, "attention.query_norm"), norm(k, "attention.key_norm")
        q, k, v = (_heads(projection, shape) for projection in (q, k, v))
        if architecture.qk_norm == "head":
            q, k = norm(q, "attention.query_norm"), norm(k, "attention.key_norm")
        if layer not in architecture.nope_layers:
            q, k = (_turn(projection, shape, interleaved=model.rope_interleaved) for projection in (q, k))
        windowed = architecture.window_layers is None or layer in architecture.window_layers
        window = architecture.sliding_window if windowed and architecture.sliding_window else len(tokens)
        group = shape.n_heads // shape.n_kv_heads
        mixed = [_attend(q[head], k[head // group], v[head // group], window) for head in range(shape.n_heads)]
        y_TD = product(np.concatenate(mixed, axis=1), "attention.output", bias=architecture.output_bias)
        x_TD = x_TD + (norm(y_TD, "attention_norm") if architecture.post_norm else y_TD)
        y_TD = x_TD if architecture.post_norm else norm(x_TD, "feed_forward_norm")
        gate, up = (product(y_TD, f"feed_forward.{name}", bias=architecture.ffn_bias) for name in ("gate", "up"))
        y_TD = product(gate / (1 + np.exp(-gate)) * up, "feed_forward.down", bias=architecture.ffn_bias)
        x_TD = x_TD + (norm(y_TD, "feed_forward_norm") if architecture.post_norm else y_TD)
    last = "embedding" if shape.tied_output else "output"
    return _norm(x_TD, weight("norm.weight"), shape) @ weight(f"{last}.weight").T


def _norm(x: Array, gain: Array, shape: Shape) -> Array:
    return x / np.sqrt((x**2).mean(axis=-1, keepdims=True) + shape.norm_eps) * gain


def _heads(x: Array, shape: Shape) -> Array:
    return x.reshape(len(x), -1, shape.head_dim).transpose(1, 0, 2)


def _attend(q_TE: Array, k_TE: Array, v_TE: Array, window: int) -> Array:
    scores = q_TE @ k_TE.T / np.sqrt(q_TE.shape[1])
    back = np.subtract.outer(np.arange(len(scores)), np.arange(len(scores)))
    scores[(back < 0) | (back >= window)] = -np.inf
    weights = np.exp(scores - scores.max(axis=1, keepdims=True))
    return weights / weights.sum(axis=1, keepdims=True) @ v_TE


def _turn(x_HTE: Array, shape: Shape, *, interleaved: bool) -> Array:
    """Every pair of dimensions as a complex number, turned by position times speed."""
    half, length = shape.head_dim // 2, x_HTE.shape[1]
    speeds = np.array([_speed(i, shape, length) for i in range(half)])
    turns = _size(shape) * np.exp(1j * np.outer(np.arange(length), speeds))
    real, imaginary = (x_HTE[..., 0::2], x_HTE[..., 1::2]) if interleaved else (x_HTE[..., :half], x_HTE[..., half:])
    turned = (real + 1j * imaginary) * turns
    out = np.empty_like(x_HTE)
    if interleaved:
        out[..., 0::2], out[..., 1::2] = turned.real, turned.imag
    else:
        out[..., :half], out[..., half:] = turned.real, turned.imag
    return out


def _speed(pair: int, shape: Shape, length: int) -> float:
    theta, share, scaling = shape.rope_theta, 2 * pair / shape.head_dim, shape.rope_scaling
    if scaling is None:
        return theta**-share
    original, factor = scaling.original_max_position_embeddings, scaling.factor
    if scaling.rope_type == "dynamic":
        grown = factor * max(length, original) / original - (factor - 1)
        return (theta * grown ** (shape.head_dim / (shape.head_dim - 2))) ** -share
    speed = theta**-share
    if scaling.rope_type == "longrope":
        return speed / (scaling.long_factor if length > original else scaling.short_factor)[pair]
    if scaling.rope_type == "linear":
        return speed / factor
    turns = original * speed / (2 * np.pi)  # how often it goes round in the original context
    if scaling.rope_type == "llama3":
        keep_share = (turns - scaling.low_freq_factor) / (scaling.high_freq_factor - scaling.low_freq_factor)
    else:  # yarn: by the pair's number, between those that go round so often
        ends = [
            np.log(original / (2 * np.pi * times)) / np.log(theta) * shape.head_dim / 2
            for times in (scaling.beta_fast, scaling.beta_slow)
        ]
        first, last = (np.floor(ends[0]), np.ceil(ends[1])) if scaling.truncate else ends
        first, last = max(first, 0), min(last, shape.head_dim - 1)
        keep_share = 1 - (pair - first) / max(last - first, 1e-3)
    keep_share = min(max(keep_share, 0), 1)
    return (1 - keep_share) * speed / factor + keep_share * speed


def _size(shape: Shape) -> float:
    """What yarn and longrope multiply cosines and sines by."""
    scaling = shape.rope_scaling
    if scaling is None or scaling.rope_type not in ("yarn", "longrope"):
        return 1.0
    if scaling.attention_factor is not None:
        return scaling.attention_factor
    stretched = np.log(max(scaling.factor, 1.0))
    if scaling.rope_type == "yarn":
        return 1 + stretched / 10
    return float(np.sqrt(1 + stretched / np.log(scaling.original_max_position_embeddings)))
