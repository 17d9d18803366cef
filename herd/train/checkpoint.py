"""Everything that must survive a crash, saved as folders that are whole or absent; and finished models.

No file here is a pickle.
"""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, Literal, TypeVar

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.optim import AdamW

from herd.core.artifacts import is_sealed, seal, whole_folder
from herd.model.heads import RewardModel
from herd.model.transformer import Transformer
from herd.model.weights import load_transformer, save_model
from herd.tokens.tokenizer import TextTokenizer
from herd.train.optimizer import AdamWSettings, adamw

Kind = Literal["base", "chat", "reward"]
ABOUT, OPTIMIZER = "herd.json", "optimizer.safetensors"
KEPT = 2  # checkpoints kept: the newest may turn out damaged


M = TypeVar("M", bound=nn.Module)


@dataclass
class TrainState(Generic[M]):
    """What training goes on from. step: the number of steps done."""

    model: M
    optimizer: AdamW
    step: int = 0


def save(scratch: Path, state: TrainState[Any]) -> None:
    """Saves `state` as the newest checkpoint in `scratch` and removes all but the last few."""
    with whole_folder(scratch / f"step-{state.step:09}") as folder:
        save_file(tensors(state.model), folder / "model.safetensors")
        save_file(optimizer_tensors(state), folder / "optimizer.safetensors")
        (folder / "state.json").write_text(json.dumps({"step": state.step}), encoding="utf-8")
        seal(folder)
    for old in checkpoints(scratch)[:-KEPT]:
        shutil.rmtree(old)


def restore(scratch: Path, state: TrainState[Any]) -> bool:
    """Brings `state` to the newest whole checkpoint in `scratch`; false when there is none."""
    for folder in reversed(checkpoints(scratch)):
        if is_sealed(folder):
            state.model.load_state_dict(load_file(folder / "model.safetensors"))
            load_optimizer(state, load_file(folder / "optimizer.safetensors"))
            state.step = json.loads((folder / "state.json").read_text(encoding="utf-8"))["step"]
            return True
    return False


def write_checkpoint(
    folder: Path,
    model: Transformer | RewardModel,
    tokenizer: TextTokenizer,
    *,
    kind: Kind,
    optimizer: AdamW | None = None,
) -> None:
    """A finished model with its tokenizer in the Hugging Face layout, and what training it further needs."""
    save_model(
        folder, model, begin=next(iter(tokenizer.opening), None), stops=sorted(tokenizer.stops), pad=tokenizer.pad
    )
    tokenizer.save(folder, model.shape.context)
    (folder / ABOUT).write_text(json.dumps({"kind": kind}), encoding="utf-8")
    if optimizer is not None:
        save_file(optimizer_tensors(TrainState(model, optimizer)), folder / OPTIMIZER)


def kind_of(folder: Path) -> Kind:
    """What the model in `folder` is for; one that herd did not make chats if it has a chat template."""
    about = folder / ABOUT
    if about.exists():
        return json.loads(about.read_text(encoding="utf-8"))["kind"]
    config = folder / "tokenizer_config.json"
    templates = config.exists() and "chat_template" in config.read_text(encoding="utf-8")
    return "chat" if templates or (folder / "chat_template.jinja").exists() else "base"


def continue_from(folder: Path, settings: AdamWSettings, *, context: int | None = None) -> TrainState[Transformer]:
    """The model in `folder` and an optimizer, with the moments it had where they were kept.

    context: the longest sequence it shall read from now on.
    """
    model = load_transformer(folder)
    if context is not None:
        model.stretch(context)
    state = TrainState(model, adamw(model, settings))
    if (folder / OPTIMIZER).exists():
        load_optimizer(state, load_file(folder / OPTIMIZER))
    return state


def checkpoints(scratch: Path) -> list[Path]:
    """The folders of checkpoints, oldest first."""
    return sorted(path for path in scratch.glob("step-*") if path.suffix != ".partial")


def tensors(model: nn.Module) -> dict[str, Tensor]:
    return {name: value.contiguous() for name, value in model.state_dict().items()}


def optimizer_tensors(state: TrainState[Any]) -> dict[str, Tensor]:
    """The optimizer's moments under the names of the weights they belong to."""
    named = {}
    for name, weight in state.model.named_parameters():
        for moment, value in state.optimizer.state.get(weight, {}).items():
            named[f"{moment}/{name}"] = torch.as_tensor(value).contiguous()
    return named


def load_optimizer(state: TrainState, named: dict[str, Tensor]) -> None:
    """The inverse of `optimizer_tensors`."""
    weights = dict(state.model.named_parameters())
    for key, value in named.items():
        moment, _, name = key.partition("/")
        entry: dict[str, Any] = state.optimizer.state[weights[name]]
        entry[moment] = value.clone()
