"""Low-rank adapters beside frozen weights: learnt, kept on disk in peft's format, and merged where one model is wanted.

Source: Hu et al. 2021 (LoRA), section 4.1; peft's `LoraConfig` and `save_pretrained` for the files.
"""

from __future__ import annotations

import json
import math
import os
import shutil
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, TypeVar

import torch
import torch.nn.functional as F
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from herd.core.errors import ArtifactError
from herd.core.manifests import check_files
from herd.core.model_files import ADAPTER_FILES
from herd.core.settings import PositiveFloat, PositiveInt, settings
from herd.model.sizes import Shape
from herd.model.stored import save_file
from herd.model.weight_names import weight_shapes

ADAPTER_CONFIG, ADAPTER_WEIGHTS = ADAPTER_FILES
SCORE_WEIGHT = "score.weight"

_ModuleT = TypeVar("_ModuleT", bound=nn.Module)
Projection = Literal["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
# Hugging Face's names, by which peft and its users choose -> the matrix's place in a block here, and there.
_PLACES: dict[str, tuple[str, str]] = {
    "q_proj": ("attention.query", "self_attn.q_proj"),
    "k_proj": ("attention.key", "self_attn.k_proj"),
    "v_proj": ("attention.value", "self_attn.v_proj"),
    "o_proj": ("attention.output", "self_attn.o_proj"),
    "gate_proj": ("feed_forward.gate", "mlp.gate_proj"),
    "up_proj": ("feed_forward.up", "mlp.up_proj"),
    "down_proj": ("feed_forward.down", "mlp.down_proj"),
}
_OURS = {theirs: ours for ours, theirs in _PLACES.values()}
_LAYER = "base_model.model.model.layers."


@settings
class LoraSettings:
    """rank: of what is added to a matrix. alpha: what is added counts alpha / rank. target_modules: the matrices of
    every block that have adapters, by Hugging Face's names."""

    rank: PositiveInt = 16
    alpha: PositiveFloat = 32.0
    target_modules: tuple[Projection, ...] = tuple(_PLACES)  # type: ignore[assignment]


class LoraLinear(nn.Module):
    """A frozen matrix W and what is learnt beside it: y = W x + (alpha / rank) B A x, where B begins at zero."""

    def __init__(self, base_layer: nn.Linear, rank: int, scale: float) -> None:
        super().__init__()
        self.base_layer, self.scale = base_layer, scale
        like = base_layer.weight
        self.lora_A = nn.Parameter(like.new_zeros(rank, base_layer.in_features))
        self.lora_B = nn.Parameter(like.new_zeros(base_layer.out_features, rank))

    def forward(self, x: Tensor) -> Tensor:
        return self.base_layer(x) + F.linear(F.linear(x, self.lora_A), self.lora_B) * self.scale

    def merge(self) -> nn.Linear:
        """One matrix that does the same."""
        with torch.no_grad():
            self.base_layer.weight += self.scale * self.lora_B @ self.lora_A
        return self.base_layer


def apply_lora(model: nn.Module, settings: LoraSettings | None, *, seed: int = 0) -> None:
    """Freezes `model` but for adapters beside its blocks' matrices; leaves it as it is without settings."""
    if settings is None:
        return
    add_adapters(model, settings)
    weights = dict(model.named_parameters())
    with torch.no_grad():
        for name, value in initial_adapters(model, seed=seed).items():
            weights[name].copy_(value)


def add_adapters(model: nn.Module, settings: LoraSettings) -> None:
    """Adapters of zeros beside the matrices of a model that is frozen; it may be one without memory."""
    model.requires_grad_(False)
    targets = {_PLACES[name][0].rpartition(".")[2] for name in settings.target_modules}
    for parent, name, child in _matrices(model, nn.Linear):
        if name in targets:
            setattr(parent, name, LoraLinear(child, settings.rank, settings.alpha / settings.rank))


def num_adapter_params(shape: Shape, settings: LoraSettings) -> int:
    """How many numbers the adapters of a model of `shape` have."""
    targets = {f".{_PLACES[name][0]}.weight" for name in settings.target_modules}
    sizes = (size for name, size in weight_shapes(shape).items() if any(name.endswith(target) for target in targets))
    return settings.rank * sum(map(sum, sizes))


def initial_adapters(model: nn.Module, *, seed: int) -> dict[str, Tensor]:
    """First values of every A in `model` by name, drawn on the CPU from the seed alone; every B begins at zero."""
    generator = torch.Generator().manual_seed(seed)
    weights: dict[str, Tensor] = {}
    for name, module in model.named_modules():
        if type(module) is LoraLinear:
            bound = module.lora_A.shape[1] ** -0.5
            weight = torch.empty(module.lora_A.shape, device="cpu").uniform_(-bound, bound, generator=generator)
            weights[f"{name}.lora_A"] = weight
    return weights


def merge_adapters(model: nn.Module) -> None:
    """Puts what adapters learnt into the matrices they stand beside; a model without any stays as it is."""
    for parent, name, child in _matrices(model, LoraLinear):
        setattr(parent, name, child.merge())
    model.requires_grad_(True)


def _matrices(model: nn.Module, kind: type[_ModuleT]) -> list[tuple[nn.Module, str, _ModuleT]]:
    """Matrices of blocks that are of this kind, each with whose it is and what it is called there."""
    matrices = []
    for path, parent in model.named_modules():
        if "blocks." not in path or type(parent) is LoraLinear:
            continue
        for name, child in parent.named_children():
            if isinstance(child, kind) and type(child) is kind:
                matrices.append((parent, name, child))
    return matrices


# ---- on disk ----


def is_adapter(folder: Path) -> bool:
    """Whether `folder` holds adapters and not a whole model."""
    return (folder / ADAPTER_CONFIG).is_file()


@dataclass(frozen=True)
class Adapters:
    """What a folder of peft's holds. settings: as they were learnt. base: the folder of the model they stand beside.
    scale: of B A. score: whether a reward model's head was learnt with them."""

    folder: Path
    settings: LoraSettings
    base: Path
    scale: float

    @cached_property
    def _file(self) -> Any:
        return _open(self.folder / ADAPTER_WEIGHTS)

    @cached_property
    def _keys(self) -> dict[str, str]:
        """Our name of every tensor -> peft's."""
        keys = {_our_name(key): key for key in self._file.keys()}  # noqa: SIM118 - no dict
        unknown = [key for name, key in keys.items() if not name]
        if unknown:
            raise ArtifactError(
                f"{self.folder}: {unknown[0]} is no adapter of a matrix that a Llama block has, and herd reads only "
                "those; merge it into its model with peft first"
            )
        return keys

    def names(self) -> set[str]:
        """Our names: `blocks.0.attention.query.lora_A`, ..., `score.weight`."""
        return set(self._keys)

    def read(self, name: str) -> Tensor:
        return self._file.get_tensor(self._keys[name])

    def merge(self, name: str, weight: Tensor) -> Tensor:
        """A matrix of the base model, by our name, with what was learnt beside it added."""
        stem = name.removesuffix(".weight")
        if f"{stem}.lora_A" not in self._keys:
            return weight
        first, second = self.read(f"{stem}.lora_A").float(), self.read(f"{stem}.lora_B").float()
        if (len(second), first.shape[1]) != tuple(weight.shape):
            raise ArtifactError(
                f"{self.folder}: the adapter of {name} is for a matrix of {[len(second), first.shape[1]]}, "
                f"{self.base} has {list(weight.shape)}; name the model it was learnt beside as base_model_name_or_path"
            )
        return (weight.float() + self.scale * second @ first).to(weight.dtype)


def read_adapters(folder: Path) -> Adapters:
    """The adapters in `folder`, herd's own or peft's. Raises ArtifactError for kinds that herd does not read, and when
    the model they stand beside is not there."""
    check_files(folder, *ADAPTER_FILES)
    file = folder / ADAPTER_CONFIG
    try:
        config = json.loads(file.read_text(encoding="utf-8"))
        rank, alpha = int(config["r"]), float(config["lora_alpha"])
        base = base_folder(folder, str(config.get("base_model_name_or_path") or ""))
    except (OSError, ValueError, KeyError, TypeError) as fault:
        raise ArtifactError(f"{file} cannot be read ({fault!r}); fetch or make the adapter again") from None
    for name, neutral in _NEUTRAL.items():
        if (value := config.get(name)) and value not in neutral:
            raise ArtifactError(
                f"{file}: {name} is {value!r}, and herd reads plain LoRA; merge it into its model with peft first"
            )
    scale = alpha / math.sqrt(rank) if config.get("use_rslora") else alpha / rank
    adapters = Adapters(folder, LoraSettings(rank=rank, alpha=scale * rank), base, scale)
    stems = {name.removesuffix(".lora_A").partition(".")[2].partition(".")[2] for name in adapters.names()}
    modules = tuple(name for name, (ours, _) in _PLACES.items() if ours in stems)
    return Adapters(folder, LoraSettings(rank=rank, alpha=scale * rank, target_modules=modules), base, scale)  # type: ignore[arg-type]


# What changes what adapters compute, or is no adapter -> the values with which it changes nothing.
_NEUTRAL: dict[str, tuple[Any, ...]] = {
    "peft_type": ("LORA",),
    "use_dora": (),
    "fan_in_fan_out": (),
    "bias": ("none",),
    "rank_pattern": (),
    "alpha_pattern": (),
    "modules_to_save": (["score"], ["classifier", "score"]),
    "lora_bias": (),
    "layer_replication": (),
    "alora_invocation_tokens": (),
    "trainable_token_indices": (),
}


def base_folder(folder: Path, name: str) -> Path:
    """Where the model lies that adapters in `folder` stand beside: as their configuration says, or, for herd's own,
    seen from `folder`. Raises ArtifactError."""
    for candidate in (folder / name, Path(name)):
        if name and (candidate / "config.json").is_file():
            return candidate
    raise ArtifactError(
        f"{folder} holds adapters of {name or 'a model without a name'}, which is no folder here; put the model's "
        f"folder into {ADAPTER_CONFIG} as base_model_name_or_path"
    )


def base_name(base: Path, folder: Path) -> str:
    """How adapters in `folder` name the model they stand beside: artifacts of a run lie side by side, and may be moved
    together; any other place is absolute."""
    beside = base.resolve().parent == folder.resolve().parent
    return os.path.relpath(base.resolve(), folder.resolve()) if beside else str(base.resolve())


def copy_adapters(adapter: Path, folder: Path) -> None:
    """The adapters in another folder, beside the same model."""
    base = read_adapters(adapter).base
    config = json.loads((adapter / ADAPTER_CONFIG).read_text(encoding="utf-8"))
    config["base_model_name_or_path"] = base_name(base, folder)
    (folder / ADAPTER_CONFIG).write_text(json.dumps(config, indent=2), encoding="utf-8")
    shutil.copyfile(adapter / ADAPTER_WEIGHTS, folder / ADAPTER_WEIGHTS)


def write_adapters(
    folder: Path, tensors: Iterable[tuple[str, Tensor]], settings: LoraSettings, *, base: str, reward: bool
) -> None:
    """Writes adapters as peft's `PeftModel.from_pretrained` reads them. tensors: by our names. base: the folder of the
    frozen model, absolute or seen from `folder`."""
    config = {
        "peft_type": "LORA",
        "task_type": "SEQ_CLS" if reward else "CAUSAL_LM",
        "base_model_name_or_path": base,
        "r": settings.rank,
        "lora_alpha": settings.alpha,
        "lora_dropout": 0.0,
        "target_modules": list(settings.target_modules),
        "bias": "none",
        "fan_in_fan_out": False,
        "init_lora_weights": True,
        "inference_mode": True,
        "modules_to_save": ["classifier", "score"] if reward else None,
        "use_rslora": False,
        "use_dora": False,
    }
    state_dict = {_their_name(name): value.detach().cpu().contiguous() for name, value in tensors}
    save_file(state_dict, folder / ADAPTER_WEIGHTS, {"format": "pt"})
    (folder / ADAPTER_CONFIG).write_text(json.dumps(config, indent=2), encoding="utf-8")


def trainable_weights(model: nn.Module) -> Iterator[tuple[str, Tensor]]:
    """What is not frozen, by our names in a model that writes text: a reward model's trunk stands for it."""
    for name, weight in model.named_parameters():
        if weight.requires_grad:
            yield name.removeprefix("trunk."), weight


def _their_name(name: str) -> str:
    if name == SCORE_WEIGHT:
        return f"base_model.model.{SCORE_WEIGHT}"
    path, _, matrix = name.rpartition(".")
    _, layer, place = path.split(".", 2)
    theirs = next(theirs for ours, theirs in _PLACES.values() if ours == place)
    return f"{_LAYER}{layer}.{theirs}.{matrix}.weight"


def _our_name(key: str) -> str:
    """Ours of a tensor of peft's; empty where there is none."""
    if key == f"base_model.model.{SCORE_WEIGHT}":
        return SCORE_WEIGHT
    path, _, matrix = key.removesuffix(".weight").rpartition(".")
    layer, _, place = path.removeprefix(_LAYER).partition(".")
    valid = key.startswith(_LAYER) and matrix in ("lora_A", "lora_B") and place in _OURS
    return f"blocks.{layer}.{_OURS[place]}.{matrix}" if valid else ""


def _open(file: Path) -> Any:
    try:
        return safe_open(file, framework="pt")
    except (SafetensorError, OSError) as fault:
        raise ArtifactError(f"{file} cannot be read ({fault}); fetch or make the adapter again") from None
