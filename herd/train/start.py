"""A model to train, on the device or the devices that there are, and what training leaves behind."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from herd.core.errors import SettingsError
from herd.core.ranks import Rank
from herd.core.stage import Work
from herd.model.adapters import (
    SCORE,
    Adapters,
    LoraSettings,
    add_adapters,
    base_name,
    initial_adapters,
    is_adapter,
    learnt,
    read_adapters,
    write_adapters,
)
from herd.model.config import shape_in
from herd.model.devices import check_memory, device_of, place_model
from herd.model.heads import RewardModel, trunk_of
from herd.model.sizes import Shape
from herd.model.stored import Stored
from herd.model.transformer import Transformer, initial_weights, initialize
from herd.model.weights import load_transformer, names, open_folder, write_tensors
from herd.tokens.tokenizer import TextTokenizer
from herd.train.alone import Alone
from herd.train.checkpoint import (
    TRAINING,
    Kind,
    Saver,
    TrainState,
    checkpoints,
    moments_in,
    write_checkpoint,
    write_texts,
)
from herd.train.layout import Layout
from herd.train.optimizer import adamw
from herd.train.pieces import PieceFiles, Region
from herd.train.settings import TrainingSettings
from herd.train.speed import Quick

_TRAINING_BYTES = 16  # of a weight in fp32: itself, its gradient and two moments


@dataclass
class Started:
    """What `train` wants, and the ends of it: whole models to test on the way, and the finished one.

    lora: of the adapters that alone are trained, which stand beside the model in the folder `base`."""

    work: Work
    shape: Shape
    state: TrainState[Any]
    hands: Any
    layout: Layout
    lora: LoraSettings | None = None
    base: Path | None = None

    @property
    def first(self) -> bool:
        """Whether this process is the only rank, or the one whose output counts."""
        return self.layout.devices == 1 or dist.get_rank() == 0

    def whole(self) -> Transformer | None:
        """The model in one piece, where the run says; None on all ranks but the first. Every rank has to ask."""
        if self.layout.devices == 1:
            return self.state.model
        found = self.hands.whole()
        return None if found is None else place_model(found, self.work.device)

    def agree(self, question: Callable[[Transformer], bool]) -> bool:
        """What the first rank finds out about the whole model."""
        model = self.whole()
        return self.hands.agree(model is not None and question(model))

    def save(self, text: TextTokenizer, *, kind: Kind, moments: bool = False) -> None:
        """Puts the finished model into `work.out`, or of adapters only these; every rank has to ask.

        Of several ranks none holds all of it while it is written: what they saved is copied over, tensor by tensor.
        """
        out, reward = self.work.out, kind == "reward"
        if self.layout.devices == 1:
            if self.lora is not None:
                self._write_adapters(dict(learnt(self.state.model)), text, kind)
                return
            write_checkpoint(
                out, self.state.model, text, kind=kind, optimizer=self.state.optimizer if moments else None
            )
            return
        saver = Saver(self.work.scratch)
        saver.save(self.state)
        saver.wait()
        dist.barrier()  # the first rank named the folder before it came here
        if self.first:
            saved = checkpoints(self.work.scratch)[-1]
            files = PieceFiles(saved)
            if self.lora is not None:
                self._write_adapters(
                    {name.removeprefix("trunk."): files.whole(f"weight/{name}") for name in files.weights()}, text, kind
                )
            else:
                copy_model(files, out, self.shape, text, kind, reward=reward)
            if moments:
                shutil.copytree(saved, out / TRAINING)

    def write(self, text: TextTokenizer, *, kind: Kind, moments: bool) -> Transformer | None:
        """As `save`; on the first rank also the model as it is to be measured, None on the others."""
        self.save(text, kind=kind, moments=moments)
        if self.layout.devices == 1:
            return self.state.model
        return place_model(load_transformer(self.work.out), self.work.device) if self.first else None

    def _write_adapters(self, tensors: Mapping[str, Tensor], text: TextTokenizer, kind: Kind) -> None:
        assert self.lora is not None
        assert self.base is not None
        out = self.work.out
        base = base_name(self.base, out)
        write_adapters(out, tensors.items(), self.lora, base=base, reward=kind == "reward")
        write_texts(out, self.shape, text, kind=kind)


def copy_model(
    files: PieceFiles, folder: Path, shape: Shape, text: TextTokenizer, kind: Kind, *, reward: bool = False
) -> None:
    """The weights of a checkpoint in Hugging Face's layout."""
    table = names(shape, reward=reward)
    with torch.device("meta"):
        model = RewardModel(shape) if reward else Transformer(shape)
        known = [name for name, _ in model.named_parameters()]
    write_tensors(folder, ((table[name], files.whole(f"weight/{name}")) for name in known))
    write_texts(folder, shape, text, kind=kind)


def init_model(work: Work, shape: Shape, *, init_std: float, settings: TrainingSettings) -> Started:
    """A new model of `shape`. Its first weights depend on the seed only, not on the layout."""
    generator = torch.Generator().manual_seed(settings.seed)
    if settings.layout.devices == 1:
        check_memory(shape, bytes_per_weight=_TRAINING_BYTES)
        model = Transformer(shape)
        initialize(model, std=init_std, layers=shape.layers, generator=generator)
        return _alone(work, model, settings)
    weights = initial_weights(shape, std=init_std, generator=generator)
    return _team(work, shape, settings, first=weights)


def load_for_training(
    work: Work, folder: Path, *, settings: TrainingSettings, shape: Shape | None = None, reward: bool = False,
    lora: LoraSettings | None = None, moments: bool = False,
) -> Started:  # fmt: skip
    """The model in `folder`, ready to be trained.

    shape: how it is read from now on, with longer sequences or other positions; as it is when absent. reward: with a
    head of zeros that gives scores, in the place of the output. lora: only adapters are trained, those in `folder`
    where it holds some of this form, else new ones. moments: the optimizer goes on with those it had, where they were
    kept. Raises SettingsError for a layout that cannot train so.
    """
    shape = shape or shape_in(folder)
    if settings.layout.devices > 1 and (reward or lora):
        check_data_parallel(settings.layout, "a reward model" if reward else "a model with adapters")
    going_on = _adapters_of(folder, lora)
    base = folder if going_on is None else going_on.base
    build = partial(_build, reward=reward, lora=lora)
    files = FromFolder(open_folder(base), _learnt_at_first(build, shape, going_on, settings.seed))
    if settings.layout.devices == 1:
        made = _alone(work, _filled(build, shape, files), settings)
    else:
        made = _team(work, shape, settings, files=files, build=build)
    made.lora, made.base = lora, base
    kept = moments_in(folder) if moments else None
    if kept is not None:
        made.state.fill_moments(kept)
    return made


def check_data_parallel(layout: Layout, what: str) -> None:
    """Raises SettingsError for a layout that divides more than the batch and, by FSDP, the weights."""
    if layout.devices != layout.data:
        raise SettingsError(f"{what} is trained on data ranks only; set layout to {{data: {layout.devices}}}")


def _build(shape: Shape, *, reward: bool, lora: LoraSettings | None) -> Transformer | RewardModel:
    model = RewardModel(shape) if reward else Transformer(shape)
    if lora is not None:
        add_adapters(trunk_of(model), lora)
    return model


def _filled(build: Callable[[Shape], nn.Module], shape: Shape, files: FromFolder) -> nn.Module:
    model = build(shape)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            weight.copy_(files.read(name, Region.whole(weight)))
    return model


def _adapters_of(folder: Path, lora: LoraSettings | None) -> Adapters | None:
    """Those in `folder`, to be trained further; None where none has this form: others become part of the frozen
    model."""
    if lora is None or not is_adapter(folder):
        return None
    found = read_adapters(folder)
    alike = found.settings.rank == lora.rank and found.scale == lora.alpha / lora.rank
    return found if alike and set(found.settings.target_modules) == set(lora.target_modules) else None


def _learnt_at_first(
    build: Callable[[Shape], nn.Module], shape: Shape, going_on: Adapters | None, seed: int
) -> dict[str, Tensor]:
    """What is no weight of the frozen model, by name: adapters, and the head of a reward model."""
    with torch.device("meta"):
        model = build(shape)
    added = {name: weight for name, weight in model.named_parameters() if "lora_" in name or name == SCORE}
    found = {name: torch.zeros(weight.shape) for name, weight in added.items()} | initial_adapters(model, seed=seed)
    if going_on is not None:
        found |= {name: going_on.read(name.removeprefix("trunk.")) for name in found if "lora_" in name}
    return found


@dataclass(frozen=True)
class FromFolder:
    """A finished model as ranks read it. learnt: by name what it has not yet."""

    stored: Stored
    learnt: Mapping[str, Tensor]

    def names(self) -> set[str]:
        return set()

    def read(self, name: str, wanted: Region) -> Tensor:
        own = name.removeprefix("weight/")
        found = self.learnt.get(own)
        if found is None:
            found = self.stored.read(own.removeprefix("trunk.").replace(".base_layer.", "."))
        return found[tuple(slice(start, start + size) for start, size in zip(wanted.offset, wanted.size, strict=True))]


def _alone(work: Work, model: Any, settings: TrainingSettings) -> Started:
    place_model(model, work.device)
    hands = Alone(model, work.place, Quick(model, settings))
    return Started(work, model.shape, TrainState(model, adamw(model, settings.optimizer)), hands, Layout())


def _team(work: Work, shape: Shape, settings: TrainingSettings, **source: Any) -> Started:
    from herd.train.team import Team  # torch.distributed takes a second to import, and most need none of it

    team = Team(settings.layout, device_of(work.device))
    state = team.state(shape, settings.optimizer, settings, **source)
    assert Rank.here().number == dist.get_rank()
    return Started(work, shape, state, team, settings.layout)
