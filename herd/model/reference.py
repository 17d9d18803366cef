"""Llama 3 written down once more, as formulas in float64, to check what the engine gives.

It shares no code with the model and reads weights as their format lays them out, so that a mistake in a
permutation, a name or a cast shows as other logits.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from herd.model.sizes import Shape
from herd.model.stored import Stored

Array = NDArray[np.float64]


def logits(model: Stored, tokens: Sequence[int]) -> Array:
    """Logits after every token: [T, V]. One layer's weights are in memory at a time.

    Source: Llama 3, 3.2; llama-models, `model.py`.
    """
    shape = model.shape

    def weight(name: str) -> Array:
        return model.raw(f"{name}.weight").double().numpy()

    x_TD = weight("embedding")[list(tokens)]
    for layer in range(shape.layers):
        here = f"blocks.{layer}."
        y_TD = _norm(x_TD, weight(here + "attention_norm"), shape)
        q_HTE, k_GTE, v_GTE = (
            _heads(y_TD @ weight(f"{here}attention.{name}").T, shape) for name in ("query", "key", "value")
        )
        q_HTE, k_GTE = _turn(q_HTE, shape, pairs=model.pairs), _turn(k_GTE, shape, pairs=model.pairs)
        group = shape.heads // shape.kv_heads
        mixed = [_attend(q_HTE[head], k_GTE[head // group], v_GTE[head // group]) for head in range(shape.heads)]
        x_TD = x_TD + np.concatenate(mixed, axis=1) @ weight(here + "attention.output").T
        y_TD = _norm(x_TD, weight(here + "feed_forward_norm"), shape)
        gate_TF = y_TD @ weight(here + "feed_forward.gate").T
        up_TF = y_TD @ weight(here + "feed_forward.up").T
        x_TD = x_TD + (gate_TF / (1 + np.exp(-gate_TF)) * up_TF) @ weight(here + "feed_forward.down").T
    last = "embedding" if shape.tied_output else "output"
    return _norm(x_TD, weight("norm"), shape) @ weight(last).T


def _norm(x: Array, gain: Array, shape: Shape) -> Array:
    return x / np.sqrt((x**2).mean(axis=-1, keepdims=True) + shape.norm_eps) * gain


def _heads(x: Array, shape: Shape) -> Array:
    return x.reshape(len(x), -1, shape.head_width).transpose(1, 0, 2)


def _attend(q_TE: Array, k_TE: Array, v_TE: Array) -> Array:
    scores = q_TE @ k_TE.T / np.sqrt(q_TE.shape[1])
    scores[np.triu_indices(len(scores), 1)] = -np.inf
    weights = np.exp(scores - scores.max(axis=1, keepdims=True))
    return weights / weights.sum(axis=1, keepdims=True) @ v_TE


def _turn(x_HTE: Array, shape: Shape, *, pairs: bool) -> Array:
    """Every pair of dimensions as a complex number, turned by position times speed."""
    half = shape.head_width // 2
    speeds = np.array([_speed(i, shape) for i in range(half)])
    turns = np.exp(1j * np.outer(np.arange(x_HTE.shape[1]), speeds))
    real, imaginary = (x_HTE[..., 0::2], x_HTE[..., 1::2]) if pairs else (x_HTE[..., :half], x_HTE[..., half:])
    turned = (real + 1j * imaginary) * turns
    out = np.empty_like(x_HTE)
    if pairs:
        out[..., 0::2], out[..., 1::2] = turned.real, turned.imag
    else:
        out[..., :half], out[..., half:] = turned.real, turned.imag
    return out


def _speed(pair: int, shape: Shape) -> float:
    speed = shape.rope_theta ** (-2 * pair / shape.head_width)
    scaling = shape.rope_scaling
    if scaling is None:
        return speed
    turns = scaling.original_context * speed / (2 * np.pi)  # how often it goes round in the original context
    if turns > scaling.high_frequency:
        return speed
    if turns < scaling.low_frequency:
        return speed / scaling.factor
    blend = (turns - scaling.low_frequency) / (scaling.high_frequency - scaling.low_frequency)
    return (1 - blend) * speed / scaling.factor + blend * speed
