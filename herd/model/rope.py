"""Rotary positions."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from herd.model.sizes import RopeScaling


def frequencies(head_width: int, theta: float, scaling: RopeScaling | None = None) -> Tensor:
    """Radians per position of every pair of dimensions: [E/2], fp32.

    Source: Su et al. 2021, eq. 15; llama-models `apply_scaling`.
    """
    speeds_E = 1.0 / theta ** (torch.arange(0, head_width, 2, dtype=torch.float64) / head_width)
    if scaling is not None:
        speeds_E = _stretch(speeds_E, scaling)
    return speeds_E.float()


def _stretch(speeds_E: Tensor, scaling: RopeScaling) -> Tensor:
    """Keeps fast pairs, slows slow ones by the factor, and blends between the two bands."""
    wavelengths_E = 2 * math.pi / speeds_E
    low, high = scaling.low_frequency, scaling.high_frequency
    kept_E = (scaling.original_context / wavelengths_E - low) / (high - low)
    kept_E = kept_E.clamp(0, 1)
    return kept_E * speeds_E + (1 - kept_E) * speeds_E / scaling.factor


def angles(length: int, head_width: int, theta: float, scaling: RopeScaling | None = None) -> tuple[Tensor, Tensor]:
    """Cosine and sine for positions 0..length-1: each [T, E/2], fp32."""
    turns_TE = torch.outer(torch.arange(length).float(), frequencies(head_width, theta, scaling))
    return turns_TE.cos(), turns_TE.sin()


def rotate(x_BHTE: Tensor, cos_TE: Tensor, sin_TE: Tensor) -> Tensor:
    """`x` turned by its positions, computed in fp32; cos and sin are [T, E/2] or [B, 1, T, E/2].

    Differs: pairs are dimensions i and i + E/2, as Hugging Face stores Llama, where Meta's code pairs
    2i and 2i + 1; the projections are permuted to match, so the function is the same.
    """
    first, second = x_BHTE.float().chunk(2, dim=-1)
    turned = torch.cat((first * cos_TE - second * sin_TE, second * cos_TE + first * sin_TE), dim=-1)
    return turned.to(x_BHTE.dtype)
