"""Meta's original layout: `params.json` and `consolidated.NN.pth`, one file for every tensor-parallel rank."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from herd.core.errors import ArtifactError, SettingsError
from herd.model.accounting import check_layers, check_tensor_names
from herd.model.architecture import RopeScaling
from herd.model.sizes import Shape
from herd.model.stored import StoredModel
from herd.model.weight_names import LAYER_PATTERNS, meta_shard_dims, weight_names

PARAMS_FILE = "params.json"
_LLAMA3_MIN_VOCAB = 100_000  # that its vocabulary has at least; Llama 1 and 2 have 32,000
_COMPUTED = {"rope.freqs"}  # follows from params.json, and Meta's own code does not read it
# Fields that are read, and those that change nothing of what a model computes; another is refused by its name.
_READ = {"dim", "n_layers", "n_heads", "n_kv_heads", "ffn_dim_multiplier", "multiple_of", "norm_eps", "rope_theta"}
_READ |= {"use_scaled_rope", "rope_scale_factor", "vocab_size"}
_WITHOUT_EFFECT = {"max_batch_size", "max_seq_len", "model_parallel_size", "flash", "low_freq_factor"}
_WITHOUT_EFFECT |= {"high_freq_factor", "original_rotary_embed_seq_len", "old_context_len"}
# The scaling's constants, which Meta's code has in its text; others are refused.
_CONSTANTS = {
    "low_freq_factor": 1,
    "high_freq_factor": 4,
    "original_rotary_embed_seq_len": 8192,
    "old_context_len": 8192,
}


def compute_ffn_dim(dim: int, multiplier: float | None, multiple_of: int) -> int:
    """The feed-forward's width. Source: llama-models, `model.py`: two thirds of 4D, times a factor, rounded up."""
    ffn_dim = int(2 * 4 * dim / 3)
    if multiplier is not None:
        ffn_dim = int(multiplier * ffn_dim)
    return multiple_of * -(-ffn_dim // multiple_of)


def open_meta_folder(folder: Path) -> StoredModel:
    """The model in Meta's folder, not read yet.

    The files are pickles: they are read by torch's restricted reader, which knows tensors and plain containers
    and runs nothing. Raises ArtifactError when a file is missing, damaged or holds anything else.
    """
    params = _read_params(folder / PARAMS_FILE)
    files = sorted(folder.glob("consolidated.*.pth"))
    if not files:
        raise ArtifactError(f"{folder} has {PARAMS_FILE} and no consolidated.*.pth; fetch the weights too")
    ranks = [_read(file) for file in files]
    embedding = _join_ranks(ranks, "tok_embeddings.weight", 0, folder)
    output = ranks[0].get("output.weight")
    tied = output is None or torch.equal(_join_ranks(ranks, "output.weight", 0, folder), embedding)
    shape = _shape(params, vocab_size=embedding.shape[0], tied=tied, folder=folder)
    for file, rank in zip(files, ranks, strict=True):
        check_layers(str(file), shape.n_layers, rank, LAYER_PATTERNS["meta"])
    table, cuts = weight_names(shape, "meta"), meta_shard_dims(shape)
    duplicates = {"output.weight"} if tied else set()  # a tied output may be stored a second time
    for file, rank in zip(files, ranks, strict=True):
        check_tensor_names(str(file), set(rank) - _COMPUTED - duplicates, table.values())

    def raw(name: str) -> Tensor:
        return _join_ranks(ranks, table[name], cuts[table[name]], folder)

    return StoredModel(str(folder), shape, raw, rope_interleaved=True, dtype=embedding.dtype)


def _join_ranks(ranks: list[dict[str, Tensor]], name: str, shard_dim: int | None, folder: Path) -> Tensor:
    try:
        parts = [rank[name] for rank in ranks]
    except KeyError:
        raise ArtifactError(f"{folder}: a file lacks {name}; fetch the weights again") from None
    return parts[0] if shard_dim is None or len(parts) == 1 else torch.cat(parts, dim=shard_dim)


def _read(file: Path) -> dict[str, Tensor]:
    try:
        tensors = torch.load(file, map_location="cpu", weights_only=True, mmap=True)
        if not isinstance(tensors, dict) or not all(isinstance(value, Tensor) for value in tensors.values()):
            raise ArtifactError(f"{file} is no table of tensors by name; fetch it again")
        return tensors
    except pickle.UnpicklingError as fault:
        reason = str(fault).splitlines()[0]
        raise ArtifactError(f"{file} holds more than tensors, and is not opened ({reason}); fetch it again") from None
    except (RuntimeError, OSError, EOFError) as fault:
        raise ArtifactError(f"{file} cannot be read ({fault}); fetch it again") from None


def _read_params(file: Path) -> dict[str, Any]:
    try:
        params = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as fault:
        raise ArtifactError(f"{file} cannot be read ({fault}); fetch it again") from None
    if not isinstance(params, dict):
        raise ArtifactError(f"{file} holds no table of names and numbers; fetch it again")
    for name, value in params.items():
        neutral = name in _READ or (name in _WITHOUT_EFFECT and value in (None, _CONSTANTS.get(name, value)))
        if not neutral and value not in (None, False):
            raise ArtifactError(f"{file}: {name} is {value!r}; herd reads no such thing of Meta's models")
    return params


def _shape(params: dict[str, Any], *, vocab_size: int, tied: bool, folder: Path) -> Shape:
    where, scaled = folder / PARAMS_FILE, params.get("use_scaled_rope") or False
    try:
        stated_size = params.get("vocab_size", vocab_size)
        if stated_size not in (None, -1, vocab_size):  # -1: as many as the tokenizer has
            raise ArtifactError(f"{where}: vocab_size is {stated_size}, and the embedding has {vocab_size} rows")
        # Llama 1 and 2 had a rope_theta, and did not write it down.
        older = "rope_theta" not in params and vocab_size < _LLAMA3_MIN_VOCAB
        return Shape(
            vocab_size=vocab_size,
            dim=params["dim"],
            n_layers=params["n_layers"],
            n_heads=params["n_heads"],
            n_kv_heads=params.get("n_kv_heads") or params["n_heads"],
            ffn_dim=compute_ffn_dim(params["dim"], params.get("ffn_dim_multiplier"), params.get("multiple_of", 256)),
            # The files do not say how long a sequence may be: 2 was trained to 4k, 3.0 to 8k, stretched positions reach
            # 128k.
            max_seq_len=131_072 if scaled else 4_096 if older else 8_192,
            rope_theta=float(params.get("rope_theta", 10_000.0 if older else 500_000.0)),
            rope_scaling=RopeScaling(factor=float(params.get("rope_scale_factor") or 8.0)) if scaled else None,
            norm_eps=params.get("norm_eps", 1e-5),
            tied_output=tied,
        )
    except KeyError as fault:
        raise ArtifactError(f"{where} has no {fault}; fetch it again") from None
    except SettingsError as fault:
        raise ArtifactError(f"{where}: {fault}") from None
    except (TypeError, ValueError, OverflowError, ZeroDivisionError) as fault:
        raise ArtifactError(f"{where} has a number that is none ({fault}); fetch it again") from None
