"""A model outside: its shape, and its tensors one at a time under our names, whatever the format."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import safetensors.torch
import torch
from torch import Tensor

from herd.core.errors import ArtifactError
from herd.model.sizes import Shape
from herd.model.weight_names import weight_shapes

_ROTATED = ("attention.query.weight", "attention.key.weight", "attention.query.bias", "attention.key.bias")


@dataclass(frozen=True)
class StoredModel:
    """A model in some format. where: for error sentences. raw: a tensor by our name, as the format lays it out.

    rope_interleaved: whether positions turn dimensions 2i and 2i + 1 (Meta's code, GGUF) rather than i and i + E/2
    (Hugging Face, ours). dtype: what the matrices are stored in.
    """

    where: str
    shape: Shape
    raw: Callable[[str], Tensor]
    rope_interleaved: bool
    dtype: torch.dtype

    @cached_property
    def _shapes(self) -> dict[str, tuple[int, ...]]:
        return weight_shapes(self.shape)

    def read(self, name: str) -> Tensor:
        """The tensor in our layout. Raises ArtifactError when it has another shape than the model asks for."""
        tensor = self.raw(name)
        expected = self._shapes[name]
        if tuple(tensor.shape) != expected:
            raise ArtifactError(
                f"{self.where}: {name} is {list(tensor.shape)}, the configuration asks for {list(expected)}; "
                "the two belong to different models"
            )
        return to_halves(tensor, self.shape.head_dim) if self.rope_interleaved and is_rotated(name) else tensor

    def tensors(self) -> Iterator[tuple[str, Tensor]]:
        for name in self._shapes:
            yield name, self.read(name)


def save_file(tensors: dict[str, Tensor], file: Path, metadata: dict[str, str] | None = None) -> None:
    """Writes a safetensors file with the mode that the umask gives to new files: the library leaves it to its owner."""
    file.unlink(missing_ok=True)
    file.touch()
    mode = file.stat().st_mode  # asking for the umask itself would change it for other threads
    safetensors.torch.save_file(tensors, file, metadata=metadata)
    file.chmod(mode)


def is_rotated(name: str) -> bool:
    """Whether positions turn what this weight of ours gives, so that the order of its rows counts."""
    return name.endswith(_ROTATED)


def to_halves(rows: Tensor, head_dim: int) -> Tensor:
    """Rows of a query or key matrix [heads * E, D] from order 0 1 2 3 .. (pairs) to 0 2 .. 1 3 .. (halves); or
    numbers of a bias."""
    heads = rows.reshape(-1, head_dim // 2, 2, *rows.shape[1:])
    return heads.transpose(1, 2).reshape(rows.shape)


def to_pairs(rows: Tensor, head_dim: int) -> Tensor:
    """The inverse of `to_halves`."""
    heads = rows.reshape(-1, 2, head_dim // 2, *rows.shape[1:])
    return heads.transpose(1, 2).reshape(rows.shape)
