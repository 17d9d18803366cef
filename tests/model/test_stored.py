"""A model outside: its tensors come in our layout, or it is told that they are another model's."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors import safe_open

from herd.core.errors import ArtifactError
from herd.model.stored import StoredModel, is_rotated, save_file, to_halves, to_pairs
from herd.model.weight_names import weight_shapes
from tests.model.test_transformer import SMALL, model


def stored(*, interleaved: bool, **other: torch.Tensor) -> StoredModel:
    state = {**model().state_dict(), **other}
    return StoredModel("there", SMALL, lambda name: state[name], rope_interleaved=interleaved, dtype=torch.float32)


@given(st.integers(1, 4), st.sampled_from([2, 4, 6, 16]), st.booleans())
def test_both_orders_hold_the_same_rows_head_by_head(heads: int, width: int, bias: bool) -> None:
    rows = torch.arange(heads * width).float() if bias else torch.arange(heads * width * 3).view(-1, 3).float()
    halves = to_halves(rows, width)
    assert torch.equal(to_pairs(halves, width), rows)
    for head in range(heads):
        inside = slice(head * width, (head + 1) * width)
        assert torch.equal(halves[inside], torch.cat((rows[inside][0::2], rows[inside][1::2])))


def test_all_weights_come_and_only_queries_and_keys_in_another_order() -> None:
    there, plain = dict(stored(interleaved=True).tensors()), dict(stored(interleaved=False).tensors())
    assert list(there) == list(weight_shapes(SMALL))
    for name, weight in model().state_dict().items():
        assert torch.equal(plain[name], weight)
        turned = name.endswith(("query.weight", "key.weight"))
        assert is_rotated(name) == turned
        assert torch.equal(there[name], to_halves(weight, SMALL.head_dim) if turned else weight)
    assert is_rotated("blocks.0.attention.key.bias")
    assert not is_rotated("blocks.0.attention.key_norm.weight")


def test_a_tensor_of_another_shape_is_another_models() -> None:
    wrong = stored(interleaved=False, **{"norm.weight": torch.ones(31)})
    with pytest.raises(ArtifactError, match=r"there: norm\.weight is \[31\], the configuration asks for \[32\]"):
        list(wrong.tensors())


def test_a_file_has_the_mode_of_new_files_and_its_notes(tmp_path: Path) -> None:
    before = os.umask(0o022)
    try:
        file = tmp_path / "a.safetensors"
        file.write_text("older")
        file.chmod(0o600)
        save_file({"x": torch.arange(3)}, file, {"note": "here"})
    finally:
        os.umask(before)
    assert stat.S_IMODE(file.stat().st_mode) == 0o644
    with safe_open(file, framework="pt") as opened:
        assert opened.metadata() == {"note": "here"}
        assert opened.get_tensor("x").tolist() == [0, 1, 2]


def test_pairs_and_halves_are_each_others_inverse() -> None:
    rows = torch.randn(24, 5)
    assert torch.equal(to_halves(to_pairs(rows, 8), 8), rows)
    assert to_halves(torch.arange(4.0)[:, None], 4).flatten().tolist() == [0, 2, 1, 3]
