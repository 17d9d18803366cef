"""The formulas by themselves: what can be known without any model beside them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from herd.model import reference, weights
from herd.model.architecture import Architecture
from herd.model.stored import StoredModel, is_rotated, to_pairs
from herd.model.transformer import Transformer, stream_logits
from tests.model.test_formats import LONG, TIED, saved
from tests.model.test_transformer import SMALL, ids, model


def stored(ours: Transformer, *, interleaved: bool = False) -> StoredModel:
    state = ours.state_dict()

    def raw(name: str) -> torch.Tensor:
        turned = interleaved and is_rotated(name)
        return to_pairs(state[name], ours.shape.head_dim) if turned else state[name]

    return StoredModel("memory", ours.shape, raw, rope_interleaved=interleaved, dtype=torch.float32)


@settings(max_examples=10)
@given(st.integers(1, 15), st.integers(0, 96))
def test_what_comes_later_changes_nothing(length: int, other: int) -> None:
    tokens = ids(1, 16)[0].tolist()
    whole = reference.logits(stored(model()), tokens)
    assert whole.shape == (16, SMALL.vocab_size)
    changed = reference.logits(stored(model()), [*tokens[:length], *[other] * (16 - length)])
    assert np.allclose(whole[:length], changed[:length], atol=1e-12)


def test_rows_in_either_order_give_the_same_logits() -> None:
    tokens = ids(1, 12)[0].tolist()
    wanted = reference.logits(stored(model()), tokens)
    assert np.allclose(reference.logits(stored(model(), interleaved=True), tokens), wanted, atol=1e-12)
    as_halves = replace(stored(model(), interleaved=True), rope_interleaved=False)
    assert not np.allclose(reference.logits(as_halves, tokens), wanted, atol=1e-3)


def test_a_window_reaches_as_far_as_all_layers_together() -> None:
    shape = replace(SMALL, architecture=Architecture(sliding_window=3))
    tokens = ids(1, 16)[0].tolist()
    first = reference.logits(stored(model(shape)), tokens)
    second = reference.logits(stored(model(shape)), [(tokens[0] + 1) % SMALL.vocab_size, *tokens[1:]])
    differ = np.abs(first - second).max(axis=1) > 1e-12
    assert differ.nonzero()[0].tolist() == list(range(3 * (3 - 1) + 1))  # three layers, two tokens back each


@pytest.mark.parametrize("shape", [SMALL, TIED, LONG])
def test_the_formulas_and_the_engine_agree(shape, tmp_path: Path) -> None:
    ours = model(shape)
    stored = weights.open_folder(saved(tmp_path, ours))
    tokens = ids(1, 20)
    with torch.inference_mode():
        wanted = ours(tokens)
    assert np.abs(reference.logits(stored, tokens[0].tolist()) - wanted[0].numpy()).max() < 1e-5
    assert torch.equal(stream_logits(shape, stored.read, tokens), wanted)
