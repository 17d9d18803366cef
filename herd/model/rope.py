"""Rotary positions."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from herd.model.architecture import RopeScaling
from herd.model.sizes import Shape


def rope_frequencies(
    head_dim: int, theta: float, scaling: RopeScaling | None = None, length: int | Tensor = 0
) -> Tensor:
    """Radians per position of every pair of dimensions: [E/2], fp32; or [B, E/2] for lengths [B].

    length: of the sequence, which the scalings `dynamic` and `longrope` ask for.
    Source: Su et al. 2021, eq. 15; llama-models `apply_scaling`; for the other scalings see RopeScaling.
    """
    device = length.device if isinstance(length, Tensor) else None
    pairs_E = torch.arange(0, head_dim, 2, dtype=torch.float64, device=device)
    length = length[:, None] if isinstance(length, Tensor) else length
    if scaling is not None and scaling.rope_type == "dynamic":
        speeds_E = 1.0 / (theta * _theta_growth(scaling, length) ** (head_dim / (head_dim - 2))) ** (pairs_E / head_dim)
    else:
        speeds_E = 1.0 / theta ** (pairs_E / head_dim)
    if scaling is not None:
        speeds_E = _scale_frequencies(speeds_E, scaling, theta, length)
    return speeds_E.float()


def _theta_growth(scaling: RopeScaling, length: int | Tensor) -> float | Tensor:
    """How much larger theta is made for a longer sequence than the original, to some power."""
    share = length / scaling.original_max_position_embeddings
    share = share.double().clamp(min=1) if isinstance(share, Tensor) else max(share, 1.0)
    return scaling.factor * share - (scaling.factor - 1)


def _scale_frequencies(speeds_E: Tensor, scaling: RopeScaling, theta: float, length: int | Tensor) -> Tensor:
    if scaling.rope_type == "linear":
        return speeds_E / scaling.factor
    if scaling.rope_type == "llama3":
        return _blend(speeds_E, scaling, _share_of_llama3(speeds_E, scaling))
    if scaling.rope_type == "yarn":
        return _blend(speeds_E, scaling, _share_of_yarn(len(speeds_E), scaling, theta))
    if scaling.rope_type == "longrope":
        short_E, long_E = (speeds_E.new_tensor(factors) for factors in (scaling.short_factor, scaling.long_factor))
        if isinstance(length, Tensor):
            return speeds_E / torch.where(length > scaling.original_max_position_embeddings, long_E, short_E)
        return speeds_E / (long_E if length > scaling.original_max_position_embeddings else short_E)
    return speeds_E


def _blend(speeds_E: Tensor, scaling: RopeScaling, keep_E: Tensor) -> Tensor:
    """Pairs kept as they are by a share, and slowed by the factor for the rest."""
    return keep_E * speeds_E + (1 - keep_E) * speeds_E / scaling.factor


def _share_of_llama3(speeds_E: Tensor, scaling: RopeScaling) -> Tensor:
    """Fast pairs are kept, slow ones are not, and between the two bands it falls with the frequency."""
    wavelengths_E = 2 * math.pi / speeds_E
    low, high = scaling.low_freq_factor, scaling.high_freq_factor
    return ((scaling.original_max_position_embeddings / wavelengths_E - low) / (high - low)).clamp(0, 1)


def _share_of_yarn(pairs: int, scaling: RopeScaling, theta: float) -> Tensor:
    """The same, where it falls with the pair's number."""

    def pair_that_turns(times: float) -> float:
        return pairs * math.log(scaling.original_max_position_embeddings / (times * 2 * math.pi)) / math.log(theta)

    first, last = pair_that_turns(scaling.beta_fast), pair_that_turns(scaling.beta_slow)
    if scaling.truncate:
        first, last = math.floor(first), math.ceil(last)
    first, last = max(first, 0), min(last, 2 * pairs - 1)
    if first == last:
        last += 0.001
    return 1 - ((torch.arange(pairs, dtype=torch.float64) - first) / (last - first)).clamp(0, 1)


def rope_tables(length: int, head_dim: int, theta: float, scaling: RopeScaling | None = None) -> tuple[Tensor, Tensor]:
    """Cosine and sine for positions 0..length-1: each [T, E/2], fp32; without memory, only their size."""
    if torch.get_default_device().type == "meta":  # where `arange` loads PyTorch's compiler
        return torch.empty(length, head_dim // 2), torch.empty(length, head_dim // 2)
    angles_TE = torch.outer(torch.arange(length).float(), rope_frequencies(head_dim, theta, scaling, length))
    return _cos_sin(angles_TE, scaling)


def _cos_sin(angles: Tensor, scaling: RopeScaling | None) -> tuple[Tensor, Tensor]:
    scale = 1.0 if scaling is None else scaling.attention_scaling
    return (angles.cos(), angles.sin()) if scale == 1.0 else (angles.cos() * scale, angles.sin() * scale)


def rope_at(
    shape: Shape, tables: tuple[Tensor, Tensor], positions: slice | Tensor, length: int | Tensor
) -> tuple[Tensor, Tensor]:
    """Cosine and sine at positions, [T] or [B, T], of sequences of `length`, or of lengths [B]: each [.., T, E/2].

    tables: what `rope_tables` gives for the whole context, where no length changes it.
    """
    scaling = shape.rope_scaling
    if scaling is None or not scaling.depends_on_length:
        return tables[0][positions], tables[1][positions]
    device = tables[0].device
    if isinstance(positions, slice):
        positions = torch.arange(shape.max_seq_len, device=device)[positions]
    speeds = rope_frequencies(shape.head_dim, shape.rope_theta, scaling, length).to(device)
    speeds = speeds[:, None] if speeds.dim() > 1 else speeds
    return _cos_sin(positions[..., None].float() * speeds, scaling)


def rotate(x_BHTE: Tensor, cos_TE: Tensor, sin_TE: Tensor) -> Tensor:
    """`x` turned by its positions, computed in fp32; cos and sin are [T, E/2] or [B, 1, T, E/2].

    Differs: pairs are dimensions i and i + E/2, as Hugging Face stores Llama, where Meta's code pairs
    2i and 2i + 1; the projections are permuted to match, so the function is the same.
    """
    first, second = x_BHTE.float().chunk(2, dim=-1)
    turned = torch.cat((first * cos_TE - second * sin_TE, second * cos_TE + first * sin_TE), dim=-1)
    return turned.to(x_BHTE.dtype)
