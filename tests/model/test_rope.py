"""Rotary positions: what turns how far, what scaling changes, and that only distances count."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from herd.model.architecture import RopeScaling
from herd.model.rope import rope_at, rope_frequencies, rope_tables, rotate
from herd.model.sizes import Shape

SHAPE = Shape(vocab_size=8, dim=32, n_layers=1, n_heads=4, n_kv_heads=2, ffn_dim=8, max_seq_len=64, rope_theta=1e4)
DYNAMIC = RopeScaling(rope_type="dynamic", factor=4.0, original_max_position_embeddings=16)
LONGROPE = RopeScaling(
    rope_type="longrope",
    factor=4.0,
    original_max_position_embeddings=16,
    short_factor=(1.0,) * 4,
    long_factor=(1.0, 2.0, 4.0, 8.0),
)


@given(st.integers(0, 63), st.sampled_from([2, 4, 16]), st.floats(10.0, 1e6))
def test_a_pair_turns_by_its_position_and_keeps_its_length(position: int, width: int, theta: float) -> None:
    x = torch.randn(1, 3, 1, width, generator=torch.Generator().manual_seed(position))
    cos, sin = rope_tables(64, width, theta)
    turned = rotate(x, cos[position : position + 1], sin[position : position + 1])
    half = width // 2
    before, after = (torch.complex(one[..., :half], one[..., half:]) for one in (x, turned))
    for pair in range(half):
        radians = torch.tensor(position * theta ** (-2 * pair / width), dtype=torch.float32)
        assert torch.allclose(after[..., pair], before[..., pair] * torch.polar(torch.tensor(1.0), radians), atol=1e-4)
    assert torch.allclose(turned.norm(dim=-1), x.norm(dim=-1), rtol=1e-5)
    assert rotate(x.bfloat16(), cos[:1], sin[:1]).dtype == torch.bfloat16


def test_a_length_changes_only_the_scalings_that_ask_for_it() -> None:
    plain = rope_frequencies(8, 1e4)
    assert torch.equal(rope_frequencies(8, 1e4, DYNAMIC, 16), plain)
    # Theta grows by (factor * length / original - (factor - 1)) ^ (E / (E - 2)).
    grown = 1e4 * (4 * 32 / 16 - 3) ** (8 / 6)
    assert torch.allclose(rope_frequencies(8, 1e4, DYNAMIC, 32), rope_frequencies(8, grown), rtol=1e-6)
    assert torch.equal(rope_frequencies(8, 1e4, LONGROPE, 16), plain)
    assert torch.allclose(rope_frequencies(8, 1e4, LONGROPE, 17), plain / torch.tensor([1.0, 2.0, 4.0, 8.0]))
    for scaling in (DYNAMIC, LONGROPE):
        rows = rope_frequencies(8, 1e4, scaling, torch.tensor([5, 16, 17, 40]))
        for row, length in zip(rows, (5, 16, 17, 40), strict=True):
            assert torch.allclose(row, rope_frequencies(8, 1e4, scaling, length), rtol=1e-6)
    linear = RopeScaling(rope_type="linear", factor=4.0, original_max_position_embeddings=16)
    assert torch.equal(rope_frequencies(8, 1e4, linear, 40), rope_frequencies(8, 1e4, linear, 0))
    assert torch.allclose(rope_frequencies(8, 1e4, linear), plain / 4)


@pytest.mark.parametrize("scaling", [None, DYNAMIC, LONGROPE])
def test_angles_at_positions_are_those_of_the_table_of_that_length(scaling: RopeScaling | None) -> None:
    shape = replace(SHAPE, rope_scaling=scaling)
    tables = rope_tables(64, 8, 1e4, scaling)
    for found, wanted in zip(rope_at(shape, tables, slice(3, 9), 40), rope_tables(40, 8, 1e4, scaling), strict=True):
        assert torch.allclose(found, wanted[3:9], atol=1e-5)
    positions, lengths = torch.tensor([[3, 4], [38, 39]]), torch.tensor([12, 40])
    found = rope_at(shape, tables, positions, lengths)
    for row, length in enumerate(lengths.tolist()):
        for part, wanted in zip(found, rope_tables(length, 8, 1e4, scaling), strict=True):
            assert torch.allclose(part[row], wanted[positions[row]] if row or scaling else wanted[3:5], atol=1e-5)


def test_yarn_keeps_fast_pairs_slows_slow_ones_and_makes_both_larger() -> None:
    scaling = RopeScaling(rope_type="yarn", factor=4.0, original_max_position_embeddings=2048)
    plain, scaled = rope_frequencies(128, 1e4), rope_frequencies(128, 1e4, scaling)
    assert scaled[0] == plain[0]
    assert torch.allclose(scaled[-1], plain[-1] / 4)
    share = scaled / plain
    assert bool((share.diff() <= 1e-6).all())  # from 1 down to a quarter
    cos, sin = rope_tables(5, 128, 1e4, scaling)
    assert torch.allclose(cos**2 + sin**2, torch.tensor((0.1 * math.log(4) + 1) ** 2), rtol=1e-5)


@pytest.mark.row(4, "shift")
@given(st.integers(0, 200), st.integers(0, 50), st.integers(0, 50))
def test_scores_depend_on_distance_only(shift: int, a: int, b: int) -> None:
    chance = torch.Generator().manual_seed(0)
    query, key = torch.randn(1, 1, 1, 16, generator=chance), torch.randn(1, 1, 1, 16, generator=chance)
    cos, sin = rope_tables(300, 16, 5e5)

    def score(at: int, to: int) -> float:
        turned = rotate(query, cos[at : at + 1], sin[at : at + 1])
        # As attention takes it: over the root of the head's width.
        return float((turned * rotate(key, cos[to : to + 1], sin[to : to + 1])).sum() / 16**0.5)

    assert abs(score(a, b) - score(a + shift, b + shift)) < 1e-5


# Llama 3.1's scaling for heads of 128 and theta 500,000: pair, its frequency, and the frequency after scaling.
# Source: llama-models, apply_scaling (factor 8, bands 1 and 4, 8,192 tokens before).
BANDS = (
    (0, 1.0, 1.0),
    (16, 3.7606030931e-02, 3.7606030931e-02),
    (28, 3.2114459948e-03, 3.2114459948e-03),
    (29, 2.6160992529e-03, 2.1665707635e-03),
    (32, 1.4142135624e-03, 5.2484616099e-04),
    (34, 9.3847387036e-04, 1.7850781277e-04),
    (35, 7.6449698832e-04, 9.5562123540e-05),
    (63, 2.4551407911e-06, 3.0689259889e-07),
)


@pytest.mark.row(4, "bands")
def test_frequencies_are_those_of_llama_3_1s_table(figure) -> None:
    plain, scaled = rope_frequencies(128, 5e5), rope_frequencies(128, 5e5, RopeScaling())
    worst = max(
        max(abs(float(plain[pair]) / before - 1), abs(float(scaled[pair]) / after - 1)) for pair, before, after in BANDS
    )
    kept, slowed = int((scaled == plain).sum()), int(torch.isclose(scaled, plain / 8, rtol=1e-6).sum())
    figure(f"{len(BANDS)} pairs within {worst:.0e} of the table; {kept} kept, {slowed} slowed 8 times")
    assert worst < 1e-5
    assert (kept, slowed) == (29, 29)
