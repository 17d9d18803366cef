"""Which part of every tensor this rank holds, and reading that part from files that other ranks wrote.

A checkpoint is a set of rectangles, each a region of a tensor known by name. Whoever reads it asks for the region it
wants, so a run goes on with another number of ranks or another layout than it was saved with.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
from safetensors import safe_open
from torch import Tensor, nn

from herd.core.errors import ArtifactError


@dataclass(frozen=True)
class Region:
    """A rectangle of a tensor. shape: of the whole tensor. offset, size: where the rectangle begins, how far it is."""

    shape: tuple[int, ...]
    offset: tuple[int, ...]
    size: tuple[int, ...]

    @classmethod
    def full(cls, tensor: Tensor) -> Region:
        return cls(tuple(tensor.shape), (0,) * tensor.dim(), tuple(tensor.shape))

    def overlap(self, target: Region) -> tuple[tuple[slice, ...], tuple[slice, ...]] | None:
        """What both cover, as slices of the one and of the other; None when nothing is."""
        mine, theirs = [], []
        for a, b, size_a, size_b in zip(self.offset, target.offset, self.size, target.size, strict=True):
            start, end = max(a, b), min(a + size_a, b + size_b)
            if start >= end:
                return None
            mine.append(slice(start - a, end - a))
            theirs.append(slice(start - b, end - b))
        return tuple(mine), tuple(theirs)


def local_tensor(tensor: Tensor) -> Tensor:
    """What of `tensor` lies on this rank."""
    return tensor.to_local() if is_sharded(tensor) else tensor  # type: ignore[attr-defined]


def is_sharded(tensor: Tensor) -> bool:
    return hasattr(tensor, "placements")


def is_tensor_sharded(weight: Tensor) -> bool:
    """Whether tensor ranks hold different parts of it."""
    mesh = getattr(weight, "device_mesh", None)
    return mesh is not None and "tensor" in (mesh.mesh_dim_names or ())


def local_region(tensor: Tensor) -> Region:
    """Which part of the whole tensor lies on this rank."""
    if not is_sharded(tensor):
        return Region.full(tensor)
    from torch.distributed.tensor._utils import compute_local_shape_and_global_offset

    sharded: Any = tensor
    size, offset = compute_local_shape_and_global_offset(tensor.shape, sharded.device_mesh, sharded.placements)
    return Region(tuple(tensor.shape), tuple(offset), tuple(size))


def named_weights(model: nn.Module) -> Iterator[tuple[str, nn.Parameter]]:
    """Every weight under the name it has in the whole model, whichever pieces of it `model` is."""
    for name, weight in model.named_parameters():
        yield name.split(":", 1)[-1].removeprefix("."), weight


# ---- reading ----


class TensorReader(Protocol):
    """Tensors on disk, by name."""

    def names(self) -> set[str]: ...
    def read(self, name: str, target: Region) -> Tensor: ...


class ShardedReader:
    """The files of one checkpoint. Raises ArtifactError when a region was saved by nobody."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._pieces: dict[str, list[tuple[str, Region]]] = defaultdict(list)
        for listing in sorted(folder.glob("rank-*.json")):
            for name, row in json.loads(listing.read_text(encoding="utf-8"))["pieces"].items():
                part = Region(*(tuple(row[key]) for key in ("shape", "offset", "size")))
                self._pieces[name].append((f"{listing.stem}.safetensors", part))

    def names(self) -> set[str]:
        return set(self._pieces)

    def weights(self) -> list[str]:
        """Our names of the weights it holds."""
        return [name.removeprefix("weight/") for name in self._pieces if name.startswith("weight/")]

    def read_full(self, name: str) -> Tensor:
        """All of a tensor."""
        shape = self._pieces[name][0][1].shape
        return self.read(name, Region(shape, (0,) * len(shape), shape))

    def read(self, name: str, target: Region) -> Tensor:
        assembled: Tensor | None = None
        covered = 0
        offsets: set[tuple[int, ...]] = set()
        for file, piece in self._pieces.get(name, []):
            overlap = piece.overlap(target)
            if piece.shape != target.shape:
                raise ArtifactError(
                    f"{self.folder}: {name} is {list(piece.shape)} there and {list(target.shape)} in this model; they "
                    "are of different shapes: start anew, or set the size the checkpoint was made with"
                )
            if overlap is None or piece.offset in offsets:
                continue
            offsets.add(piece.offset)
            theirs, mine = overlap
            with safe_open(self.folder / file, framework="pt") as stream:
                part = stream.get_slice(name)[theirs] if target.size else stream.get_tensor(name)
            if assembled is None:
                assembled = torch.empty(target.size, dtype=part.dtype)
            assembled[mine] = part
            covered += part.numel()
        if assembled is None or covered != assembled.numel():
            if assembled is None and 0 in target.size:
                return torch.empty(target.size)
            raise ArtifactError(f"{self.folder} holds not all of {name}; delete it, and the one before is used")
        return assembled


@dataclass(frozen=True)
class SafetensorsReader:
    """A safetensors file in which every tensor is whole. prefixes: what its names have in front there, by ours."""

    file: Path

    def names(self) -> set[str]:
        with safe_open(self.file, framework="pt") as stream:
            return set(stream.keys())

    def read(self, name: str, target: Region) -> Tensor:
        with safe_open(self.file, framework="pt") as stream:
            if not target.size:
                return stream.get_tensor(name)
            return stream.get_slice(name)[_slices(target)]


def _slices(target: Region) -> tuple[slice, ...]:
    return tuple(slice(start, start + size) for start, size in zip(target.offset, target.size, strict=True))


def regions_to_json(regions: Mapping[str, Region]) -> dict[str, dict[str, Sequence[int]]]:
    """Regions as JSON keeps them."""
    return {name: {"shape": piece.shape, "offset": piece.offset, "size": piece.size} for name, piece in regions.items()}
