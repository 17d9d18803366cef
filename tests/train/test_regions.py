"""Rectangles of tensors: saved by some ranks, read by others in another layout."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import save_file
from torch import Tensor, nn

from herd.core.errors import ArtifactError
from herd.train.regions import (
    Region,
    SafetensorsReader,
    ShardedReader,
    is_sharded,
    is_tensor_sharded,
    local_region,
    local_tensor,
    named_weights,
    regions_to_json,
)

TABLE = torch.arange(48.0).view(6, 8)


def slices(one: Region) -> tuple[slice, ...]:
    return tuple(slice(start, start + size) for start, size in zip(one.offset, one.size, strict=True))


@st.composite
def regions(draw: st.DrawFn, shape: tuple[int, ...] = (6, 8)) -> Region:
    offset = tuple(draw(st.integers(0, most - 1)) for most in shape)
    size = tuple(draw(st.integers(1, most - start)) for most, start in zip(shape, offset, strict=True))
    return Region(shape, offset, size)


def written(folder: Path, *parts: dict[str, tuple[Tensor, Region]]) -> ShardedReader:
    """As ranks write what they hold: a file of tensors and a list each."""
    folder.mkdir(exist_ok=True)
    for rank, own in enumerate(parts):
        stem = folder / f"rank-{rank:05}"
        save_file({name: value[slices(at)].contiguous() for name, (value, at) in own.items()}, f"{stem}.safetensors")
        pieces = regions_to_json({name: at for name, (_, at) in own.items()})
        Path(f"{stem}.json").write_text(json.dumps({"pieces": pieces}))
    return ShardedReader(folder)


@given(regions(), regions())
def test_what_two_share_is_the_same_place_of_both(one: Region, other: Region) -> None:
    both = one.overlap(other)
    mask = torch.zeros(6, 8, dtype=torch.bool)
    mask[slices(one)] = True
    inside = torch.zeros(6, 8, dtype=torch.bool)
    inside[slices(other)] = True
    if both is None:
        assert not (mask & inside).any()
        return
    mine, theirs = both
    assert torch.equal(TABLE[slices(one)][mine], TABLE[slices(other)][theirs])
    assert TABLE[slices(one)][mine].numel() == int((mask & inside).sum())
    back = other.overlap(one)
    assert back == (theirs, mine)


@given(st.integers(1, 5), st.integers(1, 7), regions())
def test_any_rectangle_is_read_from_pieces_cut_another_way(
    tmp_path_factory: pytest.TempPathFactory, row: int, column: int, wanted: Region
) -> None:
    quarters = [
        Region((6, 8), (top, left), (bottom - top, right - left))
        for top, bottom in ((0, row), (row, 6))
        for left, right in ((0, column), (column, 8))
    ]
    files = written(tmp_path_factory.mktemp("pieces"), *({"weight/w": (TABLE, one)} for one in quarters))
    assert torch.equal(files.read("weight/w", wanted), TABLE[slices(wanted)])
    assert torch.equal(files.read_full("weight/w"), TABLE)
    assert files.names() == {"weight/w"}
    assert files.weights() == ["w"]


def test_what_two_ranks_hold_alike_is_read_once_and_scalars_are_read(tmp_path: Path) -> None:
    whole, step = Region.full(TABLE), torch.tensor(7.0)
    own = {"w": (TABLE, whole), "step": (step, Region((), (), ()))}
    files = written(tmp_path, own, own)
    assert torch.equal(files.read("w", whole), TABLE)
    assert float(files.read("step", Region((), (), ()))) == 7.0


def test_what_nobody_saved_is_told(tmp_path: Path) -> None:
    half = Region((6, 8), (0, 0), (3, 8))
    files = written(tmp_path, {"w": (TABLE, half)})
    assert torch.equal(files.read("w", half), TABLE[:3])
    for name, wanted in (("w", Region.full(TABLE)), ("other", half)):
        with pytest.raises(ArtifactError, match=f"holds not all of {name}; delete it"):
            files.read(name, wanted)
    # A rank that holds nothing of a tensor asks for nothing.
    assert files.read("other", Region((6, 8), (0, 0), (0, 8))).shape == (0, 8)


def test_a_tensor_of_another_shape_is_told_with_both(tmp_path: Path) -> None:
    files = written(tmp_path, {"w": (TABLE, Region.full(TABLE))})
    with pytest.raises(ArtifactError, match=r"w is \[6, 8\] there and \[6, 9\] in this model"):
        files.read("w", Region((6, 9), (0, 0), (6, 9)))


def test_a_file_of_whole_tensors_is_read_by_part(tmp_path: Path) -> None:
    save_file({"w": TABLE, "step": torch.tensor(3.0)}, tmp_path / "a.safetensors")
    file = SafetensorsReader(tmp_path / "a.safetensors")
    assert file.names() == {"w", "step"}
    assert torch.equal(file.read("w", Region((6, 8), (2, 1), (3, 4))), TABLE[2:5, 1:5])
    assert float(file.read("step", Region((), (), ()))) == 3.0


def test_a_plain_tensor_lies_here_whole() -> None:
    assert local_tensor(TABLE) is TABLE
    assert local_region(TABLE) == Region((6, 8), (0, 0), (6, 8))
    assert not is_sharded(TABLE)
    assert not is_tensor_sharded(TABLE)


def test_weights_of_the_pieces_of_a_model_have_the_names_of_the_whole() -> None:
    parts = nn.ModuleDict({"0:blocks": nn.Linear(2, 2, bias=False), "1:": nn.Linear(2, 2, bias=False)})
    assert [name for name, _ in named_weights(parts)] == ["blocks.weight", "weight"]
    assert [name for name, _ in named_weights(nn.Linear(2, 2))] == ["weight", "bias"]
