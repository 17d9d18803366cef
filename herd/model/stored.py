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

# Inside a block: our name -> (is it a matrix, its shape).
_QUERY, _KEY = "attention.query.weight", "attention.key.weight"


def weight_shapes(shape: Shape) -> dict[str, tuple[int, ...]]:
    """Our name of every weight -> its shape, in the order of use."""
    width, kv = shape.width, shape.kv_heads * shape.head_width
    found: dict[str, tuple[int, ...]] = {"embedding.weight": (shape.vocabulary, width)}
    block = {
        "attention_norm": (width,),
        "attention.query": (width, width),
        "attention.key": (kv, width),
        "attention.value": (kv, width),
        "attention.output": (width, width),
        "feed_forward_norm": (width,),
        "feed_forward.gate": (shape.hidden, width),
        "feed_forward.up": (shape.hidden, width),
        "feed_forward.down": (width, shape.hidden),
    }
    for layer in range(shape.layers):
        found |= {f"blocks.{layer}.{name}.weight": size for name, size in block.items()}
    found["norm.weight"] = (width,)
    if not shape.tied_output:
        found["output.weight"] = (shape.vocabulary, width)
    return found


@dataclass(frozen=True)
class Stored:
    """A model in some format. where: for error sentences. raw: a tensor by our name, as the format lays it out.

    pairs: whether positions turn dimensions 2i and 2i + 1 (Meta's code, GGUF) rather than i and i + E/2
    (Hugging Face, ours). dtype: what the matrices are stored in.
    """

    where: str
    shape: Shape
    raw: Callable[[str], Tensor]
    pairs: bool
    dtype: torch.dtype

    @cached_property
    def _shapes(self) -> dict[str, tuple[int, ...]]:
        return weight_shapes(self.shape)

    def read(self, name: str) -> Tensor:
        """The tensor in our layout. Raises ArtifactError when it has another shape than the model asks for."""
        found = self.raw(name)
        wanted = self._shapes[name]
        if tuple(found.shape) != wanted:
            raise ArtifactError(
                f"{self.where}: {name} is {list(found.shape)}, the configuration asks for {list(wanted)}; "
                "the two belong to different models"
            )
        if self.pairs and name.endswith((_QUERY, _KEY)):
            found = to_halves(found, self.shape.head_width)
        return found

    def all(self) -> Iterator[tuple[str, Tensor]]:
        for name in self._shapes:
            yield name, self.read(name)


def save_file(tensors: dict[str, Tensor], file: Path, metadata: dict[str, str] | None = None) -> None:
    """Writes a safetensors file with the mode that the umask gives to new files: the library leaves it to its owner."""
    file.unlink(missing_ok=True)
    file.touch()
    mode = file.stat().st_mode  # asking for the umask itself would change it for other threads
    safetensors.torch.save_file(tensors, file, metadata=metadata)
    file.chmod(mode)


def to_halves(rows: Tensor, head_width: int) -> Tensor:
    """Rows of a query or key matrix [heads * E, D] from order 0 1 2 3 .. (pairs) to 0 2 .. 1 3 .. (halves)."""
    heads = rows.view(-1, head_width // 2, 2, rows.shape[-1])
    return heads.transpose(1, 2).reshape(rows.shape)


def to_pairs(rows: Tensor, head_width: int) -> Tensor:
    """The inverse of `to_halves`."""
    heads = rows.view(-1, 2, head_width // 2, rows.shape[-1])
    return heads.transpose(1, 2).reshape(rows.shape)
