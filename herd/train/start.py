"""A model to train, on the device or the devices that there are, and what training leaves behind."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from herd.core.stage import Work
from herd.model.devices import best_device, check_memory
from herd.model.sizes import Shape
from herd.model.stored import Stored
from herd.model.transformer import Transformer, initial_weights, initialize
from herd.model.weights import hugging_face_names, load_transformer, open_folder, write_config, write_tensors
from herd.run.ranks import Rank
from herd.tokens.tokenizer import TextTokenizer
from herd.train.alone import Alone
from herd.train.checkpoint import (
    TRAINING,
    Kind,
    Saver,
    TrainState,
    checkpoints,
    kept_checkpoints,
    moments_in,
    write_checkpoint,
    write_text_side,
)
from herd.train.layout import Layout
from herd.train.optimizer import AdamWSettings, adamw
from herd.train.pieces import PieceFiles, Region
from herd.train.speed import Quick, SpeedSettings

_TRAINING_BYTES = 16  # of a weight in fp32: itself, its gradient and two moments


@dataclass
class Started:
    """What `train` wants, and the ends of it: whole models to test on the way, and the finished one."""

    work: Work
    shape: Shape
    state: TrainState[Any]
    hands: Any
    layout: Layout

    @property
    def first(self) -> bool:
        """Whether this process is the only rank, or the one whose output counts."""
        return self.layout.devices == 1 or dist.get_rank() == 0

    def whole(self) -> Transformer | None:
        """The model in one piece; None on all ranks but the first. Every rank has to ask."""
        return self.state.model if self.layout.devices == 1 else self.hands.whole()

    def agree(self, question: Callable[[Transformer], bool]) -> bool:
        """What the first rank finds out about the whole model."""
        model = self.whole()
        return self.hands.agree(model is not None and question(model))

    def write(self, text: TextTokenizer, *, kind: Kind, moments: bool) -> Transformer | None:
        """The finished model in `work.out`; on the first rank also as it is to be measured, None on the others.

        Of several ranks none holds all of it while it is written: what they saved is copied over, tensor by tensor.
        """
        if self.first:
            for saved in kept_checkpoints(self.work.scratch, self.work.manner.keep_every_steps):
                copy_model(PieceFiles(saved), self.work.checkpoints / saved.name, self.shape, text, kind)
        if self.layout.devices == 1:
            optimizer = self.state.optimizer if moments else None
            write_checkpoint(self.work.out, self.state.model, text, kind=kind, optimizer=optimizer)
            return self.state.model
        saver = Saver(self.work.scratch)
        saver.save(self.state)
        saver.wait()
        dist.barrier()  # the first rank named the folder before it came here
        if not self.first:
            return None
        saved = checkpoints(self.work.scratch)[-1]
        copy_model(PieceFiles(saved), self.work.out, self.shape, text, kind)
        if moments:
            shutil.copytree(saved, self.work.out / TRAINING)
        return load_transformer(self.work.out)


def copy_model(files: PieceFiles, folder: Path, shape: Shape, text: TextTokenizer, kind: Kind) -> None:
    """The weights of a checkpoint in Hugging Face's layout."""
    folder.mkdir(parents=True, exist_ok=True)
    table = hugging_face_names(shape, reward=False)
    with torch.device("meta"):
        shapes = {name: tuple(weight.shape) for name, weight in Transformer(shape).named_parameters()}

    def read(name: str) -> Tensor:
        return files.read(f"weight/{name}", Region(shapes[name], (0,) * len(shapes[name]), shapes[name]))

    write_tensors(folder, ((table[name], read(name)) for name in shapes))
    write_config(folder, shape, begin=text.named_begin, stops=sorted(text.stops), pad=text.pad, dtype=torch.float32)
    write_text_side(folder, text, context=shape.context, kind=kind)


def start(
    work: Work, shape: Shape, *, init_std: float, seed: int, optimizer: AdamWSettings, layout: Layout,
    speed: SpeedSettings,
) -> Started:  # fmt: skip
    """A new model of `shape`. Its first weights depend on the seed only, not on the layout."""
    generator = torch.Generator().manual_seed(seed)
    if layout.devices == 1:
        check_memory(shape, bytes_per_weight=_TRAINING_BYTES)
        model = Transformer(shape)
        initialize(model, std=init_std, layers=shape.layers, generator=generator)
        return _alone(work, model, optimizer, speed)
    weights = initial_weights(shape, std=init_std, generator=generator)
    return _team(work, shape, layout, optimizer, speed, first=weights)


def go_on(
    work: Work, folder: Path, shape: Shape, *, optimizer: AdamWSettings, layout: Layout, speed: SpeedSettings
) -> Started:
    """The model in `folder` as `shape`, which may read longer sequences or turn positions otherwise; the optimizer
    has the moments it had where they were kept."""
    if layout.devices == 1:
        model = load_transformer(folder)
        model.reshape(shape)
        made = _alone(work, model, optimizer, speed)
    else:
        made = _team(work, shape, layout, optimizer, speed, files=FromFolder(open_folder(folder)))
    moments = moments_in(folder)
    if moments is not None:
        made.state.fill_moments(moments)
    return made


@dataclass(frozen=True)
class FromFolder:
    """A finished model as ranks read it."""

    stored: Stored

    def names(self) -> set[str]:
        return set()

    def read(self, name: str, wanted: Region) -> Tensor:
        found = self.stored.read(name.removeprefix("weight/"))
        return found[tuple(slice(start, start + size) for start, size in zip(wanted.offset, wanted.size, strict=True))]


def _alone(work: Work, model: Transformer, optimizer: AdamWSettings, speed: SpeedSettings) -> Started:
    model.to(best_device())
    hands = Alone(model, work.place, Quick(model, speed))
    return Started(work, model.shape, TrainState(model, adamw(model, optimizer)), hands, Layout())


def _team(
    work: Work, shape: Shape, layout: Layout, optimizer: AdamWSettings, speed: SpeedSettings, **source: Any
) -> Started:
    from herd.train.team import Team  # torch.distributed takes a second to import, and most need none of it

    team = Team(layout, best_device())
    state = team.state(shape, source.get("files"), optimizer, speed, first=source.get("first", ()))
    assert Rank.here().number == dist.get_rank()
    return Started(work, shape, state, team, layout)
