"""What each layer is given: its own window and turns, and nothing is made twice."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch

from herd.model.architecture import Architecture
from herd.model.layer_inputs import LayerInputs
from herd.model.rope import rope_tables
from tests.model.test_transformer import SMALL

TURNS = rope_tables(8, SMALL.head_dim, 1e4)


def inputs(tokens: int, **own: Any) -> tuple[LayerInputs, list[int | None]]:
    asked: list[int | None] = []

    def mask(window: int | None) -> str:
        asked.append(window)
        return f"a window of {window}"

    return LayerInputs(replace(SMALL, architecture=Architecture(**own)), TURNS, mask, tokens), asked


def test_layers_that_are_alike_share_one_mask_and_one_table() -> None:
    made, asked = inputs(8)
    assert asked == [None]
    for layer in range(SMALL.n_layers):
        cos, sin, mask = made.of(layer)
        assert cos is TURNS[0]
        assert sin is TURNS[1]
        assert mask == "a window of None"


@pytest.mark.parametrize(("tokens", "window"), [(8, 5), (6, 5), (5, None), (4, None)])
def test_a_window_is_of_its_layers_and_none_where_all_fits_in(tokens: int, window: int | None) -> None:
    made, asked = inputs(tokens, sliding_window=5, window_layers=(1,))
    assert [made.of(layer)[2] for layer in range(3)] == [f"a window of {w}" for w in (None, window, None)]
    assert len(asked) == len(set(asked))


def test_a_layer_without_positions_turns_by_nothing() -> None:
    made, _ = inputs(8, nope_layers=(2,))
    cos, sin, _ = made.of(2)
    assert cos.shape == TURNS[0].shape
    assert bool((cos == 1).all())
    assert not sin.any()
    assert torch.equal(made.of(1)[0], TURNS[0])
