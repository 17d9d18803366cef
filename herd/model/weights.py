"""Models on disk in the Hugging Face layout: `config.json` and safetensors, whole or in shards with an index."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from herd.core.errors import ArtifactError
from herd.core.manifests import check_files
from herd.core.model_files import WEIGHT_FILES, files_in
from herd.model.accounting import check_layers, check_tensor_names
from herd.model.adapters import SCORE_WEIGHT, is_adapter, read_adapters
from herd.model.config import CONFIG_JSON, config_from_shape, read_config, read_shape, shape_from_config
from herd.model.heads import RewardModel
from herd.model.sizes import Shape
from herd.model.stored import StoredModel, save_file
from herd.model.transformer import Transformer
from herd.model.weight_names import LAYER_PATTERNS, weight_names, weight_shapes

WEIGHTS_FILE = "model.safetensors"
WEIGHTS_INDEX_FILE = f"{WEIGHTS_FILE}.index.json"
SHARD_BYTES = 5_000_000_000  # as large as others write them


def hugging_face_names(shape: Shape, *, reward: bool) -> dict[str, str]:
    """Our name of every weight -> Hugging Face's; a reward model has a trunk and a score in the output's place."""
    table = weight_names(shape, "hugging_face")
    if not reward:
        return table
    trunk = {f"trunk.{ours}": theirs for ours, theirs in table.items() if ours != "output.weight"}
    return trunk | {"score.weight": "score.weight"}


# ---- out ----


def save_model(
    folder: Path,
    model: Transformer | RewardModel,
    *,
    bos_token_id: int | None,
    eos_token_ids: list[int],
    pad_token_id: int,
    dtype: torch.dtype = torch.float32,
    shard_bytes: int = SHARD_BYTES,
) -> None:
    """Writes the model into `folder`; begin, stops and pad are token ids that other programs want to know."""
    reward = isinstance(model, RewardModel)
    write_config(
        folder,
        model.shape,
        bos_token_id=bos_token_id,
        eos_token_ids=eos_token_ids,
        pad_token_id=pad_token_id,
        dtype=dtype,
        reward=reward,
    )
    write_tensors(folder, model_tensors(model, dtype), shard_bytes=shard_bytes)


def model_tensors(model: Transformer | RewardModel, dtype: torch.dtype = torch.float32) -> Iterator[tuple[str, Tensor]]:
    """Every weight under its Hugging Face name."""
    table = hugging_face_names(model.shape, reward=isinstance(model, RewardModel))
    return ((table[name], value.to(dtype)) for name, value in model.state_dict().items())


def write_config(
    folder: Path,
    shape: Shape,
    *,
    bos_token_id: int | None,
    eos_token_ids: list[int],
    pad_token_id: int | None,
    dtype: torch.dtype,
    reward: bool = False,
) -> None:
    """Writes `config.json` and `generation_config.json`."""
    tokens = {"bos_token_id": bos_token_id, "eos_token_id": eos_token_ids, "pad_token_id": pad_token_id}
    config = config_from_shape(shape, reward=reward, dtype=str(dtype).removeprefix("torch.")) | tokens
    (folder / CONFIG_JSON).write_text(json.dumps(config, indent=2), encoding="utf-8")
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
        (folder / "part-0.partial").rename(folder / WEIGHTS_FILE)
        return
    places: dict[str, str] = {}
    for number, names in enumerate(shards):
        file = f"model-{number + 1:05}-of-{len(shards):05}.safetensors"
        (folder / f"part-{number}.partial").rename(folder / file)
        places |= dict.fromkeys(names, file)
    index = {"metadata": {"total_size": total}, "weight_map": places}
    (folder / WEIGHTS_INDEX_FILE).write_text(json.dumps(index, indent=2), encoding="utf-8")


def copy_tensors(model: Path, folder: Path, *, dtype: torch.dtype | None, shard_bytes: int = SHARD_BYTES) -> None:
    """Copies the weights in `model` into `folder` in shards of another size or, where it is given, another type;
    adapters merged into the weights they stand beside."""
    if is_adapter(model):
        _write_merged(model, folder, dtype, shard_bytes)
        return
    check_files(model, *WEIGHT_FILES)
    file_names = {file.name for file in files_in(model, *WEIGHT_FILES)}
    files = _SafeFiles(model)
    assert file_names.issuperset(files.places.values())
    write_tensors(
        folder, ((name, files.read(name).to(dtype)) for name in sorted(files.places)), shard_bytes=shard_bytes
    )
    if dtype is not None:
        _write_dtype(folder, dtype)


def _write_merged(model: Path, folder: Path, dtype: torch.dtype | None, shard_bytes: int) -> None:
    """Adapters in `model` and what they stand beside as one model; of a reward model the head in the output's place."""
    stored, reward = _open_merged(model), is_reward_model(model)
    table = hugging_face_names(stored.shape, reward=False)
    kept = dtype or stored.dtype
    tensors = ((table[name], value) for name, value in stored.tensors() if not (reward and name == "output.weight"))
    head = [(SCORE_WEIGHT, read_adapters(model).read(SCORE_WEIGHT))] if reward else []
    write_tensors(
        folder, ((name, value.to(kept)) for name, value in itertools.chain(tensors, head)), shard_bytes=shard_bytes
    )
    _write_dtype(folder, kept)


def _write_dtype(folder: Path, dtype: torch.dtype) -> None:
    config = read_config(folder) | {"torch_dtype": str(dtype).removeprefix("torch.")}
    (folder / CONFIG_JSON).write_text(json.dumps(config, indent=2), encoding="utf-8")


# ---- in ----


def open_folder(folder: Path) -> StoredModel:
    """The transformer in a Hugging Face folder, not read yet.

    Raises ArtifactError when a file is missing or damaged, and for a reward model.
    """
    config = read_config(folder)
    if _is_reward(config):
        raise _scores_only(folder)
    if is_adapter(folder):
        return _open_merged(folder)
    shape = shape_from_config(config, folder)
    check_files(folder, *WEIGHT_FILES)
    files = _SafeFiles(folder)
    table = files.table(shape, reward=False)
    dtype = files.read(table["blocks.0.attention.query.weight"]).dtype
    return StoredModel(str(folder), shape, lambda name: files.read(table[name]), rope_interleaved=False, dtype=dtype)


def load_model(folder: Path) -> Transformer | RewardModel:
    """The model in `folder`, in fp32.

    Raises ArtifactError when a file is missing, damaged (where a list of hashes lies beside it: in one bit) or of
    another shape than the configuration says.
    """
    config = read_config(folder)
    shape = shape_from_config(config, folder)
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


def _open_merged(folder: Path) -> StoredModel:
    """The model that adapters in `folder` make of the one they stand beside."""
    adapters = read_adapters(folder)
    stored = open_folder(adapters.base)

    def read(name: str) -> Tensor:
        return adapters.merge(name, stored.read(name))

    return StoredModel(
        str(folder), replace(stored.shape, max_seq_len=read_shape(folder).max_seq_len), read, False, stored.dtype
    )


def _load_merged(folder: Path, shape: Shape, *, reward: bool) -> Transformer | RewardModel:
    stored = _open_merged(folder)
    model = RewardModel(shape) if reward else Transformer(shape)
    for name, weight in model.state_dict().items():
        if name == SCORE_WEIGHT:
            weight.copy_(read_adapters(folder).read(SCORE_WEIGHT))
        else:
            weight.copy_(stored.read(name.removeprefix("trunk.")))
    return model


def load_transformer(folder: Path) -> Transformer:
    """Like `load_model`, for one that writes text. Raises ArtifactError for a reward model."""
    model = load_model(folder)
    if not isinstance(model, Transformer):
        raise _scores_only(folder)
    return model


def refuse_reward_model(folder: Path) -> None:
    """Raises ArtifactError where `folder` holds a reward model, which nothing can be asked."""
    if is_reward_model(folder):
        raise _scores_only(folder)


def is_reward_model(folder: Path) -> bool:
    """Whether the model in `folder` gives scores in the place of text. Raises ArtifactError where it is no model."""
    return _is_reward(read_config(folder))


def _scores_only(folder: Path) -> ArtifactError:
    return ArtifactError(
        f"{folder} holds a reward model, which gives scores and no text: `herd export` writes it for transformers, and "
        f"`herd show {folder}` says how it ranks; name a model that writes text here"
    )


def _is_reward(config: Mapping[str, Any]) -> bool:
    return str(config.get("architectures")).endswith("ForSequenceClassification']")


class _SafeFiles:
    """Tensors of a folder by name, wherever the index says they are."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        index = folder / WEIGHTS_INDEX_FILE
        weight_map = _read_index(index) if index.exists() else None
        file_names = {WEIGHTS_FILE} if weight_map is None else set(weight_map.values())
        self._files = {name: self._open(name) for name in sorted(file_names)}
        self.places: dict[str, str] = {}
        for name, file in self._files.items():
            self.places |= dict.fromkeys(file.keys(), name)
        misplaced = [key for key, name in (weight_map or {}).items() if self.places.get(key) != name]
        if weight_map is not None and misplaced:
            raise ArtifactError(
                f"{index} says that {misplaced[0]} is in {weight_map[misplaced[0]]}, and it is not; fetch index and "
                "shards again"
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
        check_layers(str(self.folder), shape.n_layers, self.places, LAYER_PATTERNS["hugging_face"])
        table = hugging_face_names(shape, reward=reward)
        # A tied output is stored a second time by some programs.
        duplicates = {"lm_head.weight"} if shape.tied_output else set()
        check_tensor_names(str(self.folder), set(self.places) - duplicates, table.values())
        expected_shapes = {f"trunk.{name}": size for name, size in weight_shapes(shape).items()} if reward else {}
        expected_shapes = expected_shapes | {"score.weight": (1, shape.dim)} if reward else weight_shapes(shape)
        for ours, theirs in table.items():
            stored_shape = tuple(self._files[self.places[theirs]].get_slice(theirs).get_shape())
            if stored_shape != expected_shapes[ours]:
                raise ArtifactError(
                    f"{self.folder}: {theirs} is {list(stored_shape)}, {CONFIG_JSON} asks for "
                    f"{list(expected_shapes[ours])}; the two files belong to different models"
                )
        return table


def _read_index(file: Path) -> dict[str, str]:
    try:
        return dict(json.loads(file.read_text(encoding="utf-8"))["weight_map"])
    except (ValueError, KeyError, TypeError) as fault:
        raise ArtifactError(f"{file} is no index of shards ({fault!r}); fetch the model again") from None
