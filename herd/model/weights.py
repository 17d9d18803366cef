"""Models on disk in the Hugging Face layout: `config.json` and safetensors, whole or in shards with an index."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from herd.core.errors import ArtifactError
from herd.core.layout import WEIGHT_FILES, files_in
from herd.core.manifests import check_files
from herd.model.accounting import check_held, check_layers
from herd.model.adapters import SCORE, is_adapter, read_adapters
from herd.model.config import CONFIG, config_of, read_config, shape_in, shape_of
from herd.model.heads import RewardModel
from herd.model.names import LAYER_PATTERNS, names, weight_shapes
from herd.model.sizes import Shape
from herd.model.stored import Stored, save_file
from herd.model.transformer import Transformer

WEIGHTS = "model.safetensors"
INDEX = f"{WEIGHTS}.index.json"
SHARD_BYTES = 5_000_000_000  # as large as others write them


def hugging_face_names(shape: Shape, *, reward: bool) -> dict[str, str]:
    """Our name of every weight -> Hugging Face's; a reward model has a trunk and a score in the output's place."""
    table = names(shape, "hugging_face")
    if not reward:
        return table
    trunk = {f"trunk.{ours}": theirs for ours, theirs in table.items() if ours != "output.weight"}
    return trunk | {"score.weight": "score.weight"}


# ---- out ----


def save_model(
    folder: Path,
    model: Transformer | RewardModel,
    *,
    begin: int | None,
    stops: list[int],
    pad: int,
    dtype: torch.dtype = torch.float32,
    shard_bytes: int = SHARD_BYTES,
) -> None:
    """Writes the model into `folder`; begin, stops and pad are token ids that other programs want to know."""
    reward = isinstance(model, RewardModel)
    write_config(folder, model.shape, begin=begin, stops=stops, pad=pad, dtype=dtype, reward=reward)
    write_tensors(folder, model_tensors(model, dtype), shard_bytes=shard_bytes)


def model_tensors(model: Transformer | RewardModel, dtype: torch.dtype = torch.float32) -> Iterator[tuple[str, Tensor]]:
    """Every weight under its Hugging Face name."""
    table = hugging_face_names(model.shape, reward=isinstance(model, RewardModel))
    return ((table[name], value.to(dtype)) for name, value in model.state_dict().items())


def write_config(
    folder: Path,
    shape: Shape,
    *,
    begin: int | None,
    stops: list[int],
    pad: int | None,
    dtype: torch.dtype,
    reward: bool = False,
) -> None:
    """Writes `config.json` and `generation_config.json`."""
    tokens = {"bos_token_id": begin, "eos_token_id": stops, "pad_token_id": pad}
    config = config_of(shape, reward=reward, dtype=str(dtype).removeprefix("torch.")) | tokens
    (folder / CONFIG).write_text(json.dumps(config, indent=2), encoding="utf-8")
    (folder / "generation_config.json").write_text(
        json.dumps(tokens | {"do_sample": False}, indent=2), encoding="utf-8"
    )


def write_tensors(folder: Path, tensors: Iterable[tuple[str, Tensor]], *, shard_bytes: int = SHARD_BYTES) -> None:
    """Writes tensors under their Hugging Face names, holding at most one shard at a time.

    One file where all fit into `shard_bytes`, otherwise numbered shards and the index that says which holds what.
    """
    shards: list[list[str]] = []
    pending: dict[str, Tensor] = {}
    total = 0

    def flush() -> None:
        save_file(pending, folder / f"part-{len(shards)}.partial", {"format": "pt"})
        shards.append(list(pending))
        pending.clear()

    for name, value in tensors:
        size = value.numel() * value.element_size()
        if pending and sum(v.numel() * v.element_size() for v in pending.values()) + size > shard_bytes:
            flush()
        pending[name] = value.contiguous()
        total += size
    flush()
    if len(shards) == 1:
        (folder / "part-0.partial").rename(folder / WEIGHTS)
        return
    places: dict[str, str] = {}
    for number, held in enumerate(shards):
        file = f"model-{number + 1:05}-of-{len(shards):05}.safetensors"
        (folder / f"part-{number}.partial").rename(folder / file)
        places |= dict.fromkeys(held, file)
    index = {"metadata": {"total_size": total}, "weight_map": places}
    (folder / INDEX).write_text(json.dumps(index, indent=2), encoding="utf-8")


def copy_tensors(model: Path, folder: Path, *, dtype: torch.dtype | None, shard_bytes: int = SHARD_BYTES) -> None:
    """Copies the weights in `model` into `folder` in shards of another size or, where it is given, another type;
    adapters merged into the weights they stand beside."""
    if is_adapter(model):
        stored = open_folder(model)
        table = hugging_face_names(stored.shape, reward=False)
        dtype = dtype or stored.dtype
        write_tensors(folder, ((table[name], value.to(dtype)) for name, value in stored.all()), shard_bytes=shard_bytes)
        _say_dtype(folder, dtype)
        return
    check_files(model, *WEIGHT_FILES)
    inside = {file.name for file in files_in(model, *WEIGHT_FILES)}
    files = _SafeFiles(model)
    assert inside.issuperset(files.places.values())
    write_tensors(
        folder, ((name, files.read(name).to(dtype)) for name in sorted(files.places)), shard_bytes=shard_bytes
    )
    if dtype is not None:
        _say_dtype(folder, dtype)


def _say_dtype(folder: Path, dtype: torch.dtype) -> None:
    config = read_config(folder) | {"torch_dtype": str(dtype).removeprefix("torch.")}
    (folder / CONFIG).write_text(json.dumps(config, indent=2), encoding="utf-8")


# ---- in ----


def open_folder(folder: Path) -> Stored:
    """The transformer in a Hugging Face folder, not read yet.

    Raises ArtifactError when a file is missing or damaged, and for a reward model.
    """
    config = read_config(folder)
    if _is_reward(config):
        raise ArtifactError(f"{folder} holds a reward model, which gives scores; name a model that writes text")
    if is_adapter(folder):
        return _merged(folder)
    shape = shape_of(config, folder)
    check_files(folder, *WEIGHT_FILES)
    files = _SafeFiles(folder)
    table = files.table(shape, reward=False)
    dtype = files.read(table["blocks.0.attention.query.weight"]).dtype
    return Stored(str(folder), shape, lambda name: files.read(table[name]), pairs=False, dtype=dtype)


def load_model(folder: Path) -> Transformer | RewardModel:
    """The model in `folder`, in fp32.

    Raises ArtifactError when a file is missing, damaged (where a list of hashes lies beside it: in one bit) or of
    another shape than the configuration says.
    """
    config = read_config(folder)
    shape = shape_of(config, folder)
    if is_adapter(folder):
        return _load_merged(folder, shape, reward=_is_reward(config))
    check_files(folder, *WEIGHT_FILES)
    files = _SafeFiles(folder)
    reward = _is_reward(config)
    table = files.table(shape, reward=reward)
    model = RewardModel(shape) if reward else Transformer(shape)
    for name, weight in model.state_dict().items():
        weight.copy_(files.read(table[name]))
    return model


def _merged(folder: Path) -> Stored:
    """The model that adapters in `folder` make of the one they stand beside."""
    adapters = read_adapters(folder)
    stored = open_folder(adapters.base)

    def read(name: str) -> Tensor:
        return adapters.merged(name, stored.read(name))

    return Stored(str(folder), replace(stored.shape, context=shape_in(folder).context), read, False, stored.dtype)


def _load_merged(folder: Path, shape: Shape, *, reward: bool) -> Transformer | RewardModel:
    stored = _merged(folder)
    model = RewardModel(shape) if reward else Transformer(shape)
    for name, weight in model.state_dict().items():
        if name == SCORE:
            weight.copy_(read_adapters(folder).read(SCORE))
        else:
            weight.copy_(stored.read(name.removeprefix("trunk.")))
    return model


def load_transformer(folder: Path) -> Transformer:
    """Like `load_model`, for one that writes text. Raises ArtifactError for a reward model."""
    model = load_model(folder)
    if not isinstance(model, Transformer):
        raise ArtifactError(f"{folder} holds a reward model, which gives scores; name a model that writes text")
    return model


def _is_reward(config: Mapping[str, Any]) -> bool:
    return str(config.get("architectures")).endswith("ForSequenceClassification']")


class _SafeFiles:
    """Tensors of a folder by name, wherever the index says they are."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        index = folder / INDEX
        listed = _read_index(index) if index.exists() else None
        held = {WEIGHTS} if listed is None else set(listed.values())
        self._files = {name: self._open(name) for name in sorted(held)}
        self.places = {key: name for name, file in self._files.items() for key in file.keys()}  # noqa: SIM118 - no dict
        wrong = [key for key, name in (listed or {}).items() if self.places.get(key) != name]
        if listed is not None and wrong:
            raise ArtifactError(
                f"{index} says that {wrong[0]} is in {listed[wrong[0]]}, and it is not; fetch index and shards again"
            )

    def _open(self, name: str) -> Any:
        file = self.folder / name
        try:
            return safe_open(file, framework="pt")
        except FileNotFoundError:
            raise ArtifactError(f"{file} is missing; fetch or make the model again") from None
        except (SafetensorError, OSError) as fault:
            raise ArtifactError(f"{file} cannot be read ({fault}); fetch or make the model again") from None

    def read(self, name: str) -> Tensor:
        return self._files[self.places[name]].get_tensor(name)

    def table(self, shape: Shape, *, reward: bool) -> dict[str, str]:
        """As `hugging_face_names`, of files that hold these tensors and no others, each as large as `shape` asks for.

        Nothing of the shape's size is made before it is known to be that of the files. Raises ArtifactError.
        """
        check_layers(str(self.folder), shape.layers, self.places, LAYER_PATTERNS["hugging_face"])
        found = hugging_face_names(shape, reward=reward)
        # A tied output is stored a second time by some programs.
        again = {"lm_head.weight"} if shape.tied_output else set()
        check_held(str(self.folder), set(self.places) - again, found.values())
        wanted = {f"trunk.{name}": size for name, size in weight_shapes(shape).items()} if reward else {}
        wanted = wanted | {"score.weight": (1, shape.width)} if reward else weight_shapes(shape)
        for ours, theirs in found.items():
            there = tuple(self._files[self.places[theirs]].get_slice(theirs).get_shape())
            if there != wanted[ours]:
                raise ArtifactError(
                    f"{self.folder}: {theirs} is {list(there)}, {CONFIG} asks for {list(wanted[ours])}; "
                    "the two files belong to different models"
                )
        return found


def _read_index(file: Path) -> dict[str, str]:
    try:
        return dict(json.loads(file.read_text(encoding="utf-8"))["weight_map"])
    except (ValueError, KeyError, TypeError) as fault:
        raise ArtifactError(f"{file} is no index of shards ({fault!r}); fetch the model again") from None
