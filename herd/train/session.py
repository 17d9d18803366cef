"""A model to train, on the device or the devices that there are, and what training leaves behind."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from herd.core.errors import SettingsError
from herd.core.stage import Work
from herd.model.adapters import (
    SCORE_WEIGHT,
    Adapters,
    LoraSettings,
    add_adapters,
    base_name,
    initial_adapters,
    is_adapter,
    read_adapters,
    trainable_weights,
    write_adapters,
)
from herd.model.collectives import SINGLE_RANK, RankGroup, join_ranks
from herd.model.config import read_shape
from herd.model.devices import DTYPES, check_memory, place_model, resolve_device, resolve_dtype
from herd.model.heads import RewardModel, trunk_of
from herd.model.sizes import Shape
from herd.model.stored import StoredModel
from herd.model.transformer import Transformer, copy_in, initial_weights, initialize
from herd.model.weights import hugging_face_names, load_transformer, open_folder, write_tensors
from herd.run.ranks import Rank
from herd.tokens.tokenizer import TextTokenizer
from herd.train.checkpoint import (
    TRAINING,
    Kind,
    Saver,
    TrainState,
    checkpoints,
    open_moments,
    permanent_checkpoints,
    write_checkpoint,
    write_config_and_tokenizer,
)
from herd.train.compute import ComputeContext
from herd.train.freezing import check_all_learn, freeze_except
from herd.train.layout import ParallelLayout
from herd.train.optimizer import build_optimizer
from herd.train.regions import Region, ShardedReader, TensorReader
from herd.train.settings import TrainingSettings
from herd.train.single_device import SingleDeviceStrategy


@dataclass
class TrainingSession:
    """What `train` wants, and the ends of it: whole models to test on the way, and the finished one.

    lora: of the adapters that alone are trained, which stand beside the model in the folder `base`. frozen: where
    weights are read that checkpoints do not hold, since they do not learn; None where all do.
    """

    work: Work
    shape: Shape
    state: TrainState[Any]
    strategy: Any
    layout: ParallelLayout
    lora: LoraSettings | None = None
    base: Path | None = None
    frozen: TensorReader | None = None

    @property
    def trainable_note(self) -> str:
        """For a headline: how many of the weights learnt, where some were frozen; empty where all did."""
        if self.frozen is None:
            return ""
        weights = list(self.state.model.parameters())
        trained = sum(weight.numel() for weight in weights if weight.requires_grad)
        total = sum(weight.numel() for weight in weights)
        return f"; {trained:,} of {total:,} weights trained ({trained / total:.1%})"

    @property
    def first(self) -> bool:
        """Whether this process is the only rank, or the one whose output counts."""
        return self.layout.devices == 1 or dist.get_rank() == 0

    def full_model(self, *, on_all: bool = False, dtype: str = "fp32") -> Transformer | None:
        """The model in one piece, where the run says; None on all ranks but the first unless it is wanted `on_all`.
        Every rank has to ask. dtype: of one that is put together from several ranks."""
        if self.layout.devices == 1:
            return self.state.model
        model = self.strategy.full_model(on_all=on_all)
        return None if model is None else place_model(model, self.work.device, dtype)

    def inference_model(self, model: Transformer) -> Transformer:
        """`model` as models that only read are in this run: a copy where its weights are in another type."""
        dtype = DTYPES[resolve_dtype(self.work.dtype, model.embedding.weight.device)]
        return model if model.embedding.weight.dtype == dtype else copy_in(model, dtype)

    def decide(self, question: Callable[[Transformer], bool]) -> bool:
        """What all ranks find out about the whole model together, which each has for that as models that only read
        are. They follow the first."""
        model = self.full_model(on_all=True, dtype=self.work.dtype)
        return self.strategy.broadcast(model is not None and question(self.inference_model(model)))

    def save(self, tokenizer: TextTokenizer, *, kind: Kind, moments: bool = False) -> None:
        """Puts the finished model into `work.out`, or of adapters only these; every rank has to ask.

        Of several ranks none holds all of it while it is written: what they saved is copied over, tensor by tensor.
        """
        out = self.work.out
        if self.first and self.lora is None:
            for saved in permanent_checkpoints(self.work.scratch, self.work.options.keep_every_steps):
                self._export(saved, self.work.checkpoints / saved.name, tokenizer, kind)
        if self.layout.devices == 1:
            if self.lora is not None:
                self._write_adapters(dict(trainable_weights(self.state.model)), tokenizer, kind)
                return
            write_checkpoint(
                out, self.state.model, tokenizer, kind=kind, optimizer=self.state.optimizer if moments else None
            )
            return
        saver = Saver(self.work.scratch)
        saver.save(self.state)
        saver.wait()
        dist.barrier()  # the first rank named the folder before it came here
        if self.first:
            saved = checkpoints(self.work.scratch)[-1]
            if self.lora is not None:
                files = ShardedReader(saved)
                self._write_adapters(
                    {name.removeprefix("trunk."): files.read_full(f"weight/{name}") for name in files.weights()},
                    tokenizer,
                    kind,
                )
            else:
                self._export(saved, out, tokenizer, kind)
            if moments:
                shutil.copytree(saved, out / TRAINING)

    def write(self, tokenizer: TextTokenizer, *, kind: Kind, moments: bool) -> Transformer:
        """As `save`; also the whole model, which all ranks measure together: of several as models that only read are,
        since each holds it beside its part of what was trained."""
        self.save(tokenizer, kind=kind, moments=moments)
        if self.layout.devices == 1:
            return self.state.model
        ranks = RankGroup.joined()
        written = ranks.on_first(lambda: str(self.work.out))
        model = place_model(load_transformer(Path(written)), self.work.device, self.work.dtype)
        ranks.gather(None)  # the folder gets its name once all have read it
        return model

    def _export(self, saved: Path, folder: Path, tokenizer: TextTokenizer, kind: Kind) -> None:
        export_checkpoint(
            ShardedReader(saved), folder, self.shape, tokenizer, kind, reward=kind == "reward", frozen=self.frozen
        )

    def _write_adapters(self, tensors: Mapping[str, Tensor], tokenizer: TextTokenizer, kind: Kind) -> None:
        assert self.lora is not None
        assert self.base is not None
        out = self.work.out
        base = base_name(self.base, out)
        write_adapters(out, tensors.items(), self.lora, base=base, reward=kind == "reward")
        write_config_and_tokenizer(out, self.shape, tokenizer, kind=kind)


def export_checkpoint(
    files: ShardedReader, folder: Path, shape: Shape, tokenizer: TextTokenizer, kind: Kind, *, reward: bool = False,
    frozen: TensorReader | None = None,
) -> None:  # fmt: skip
    """The weights of a checkpoint in Hugging Face's layout, with those that it does not hold from `frozen`."""
    folder.mkdir(parents=True, exist_ok=True)
    table = hugging_face_names(shape, reward=reward)
    with torch.device("meta"):
        model = RewardModel(shape) if reward else Transformer(shape)
        regions = {name: Region.full(weight) for name, weight in model.named_parameters()}
    trained = set(files.weights())
    readers: dict[str, TensorReader] = {
        name: files if frozen is None or name in trained else frozen for name in regions
    }
    write_tensors(
        folder, ((table[name], readers[name].read(f"weight/{name}", region)) for name, region in regions.items())
    )
    write_config_and_tokenizer(folder, shape, tokenizer, kind=kind)


def init_model(work: Work, shape: Shape, *, init_std: float, settings: TrainingSettings) -> TrainingSession:
    """A new model of `shape`. Its first weights depend on the seed only, not on the layout. Raises SettingsError where
    only some of them shall learn."""
    check_all_learn(settings.unfrozen_parameters)
    generator = torch.Generator().manual_seed(settings.seed)
    if settings.layout.devices == 1:
        # In fp32 a weight, its gradient and its moments.
        moments = settings.trainable_params(shape).moments / shape.num_params
        check_memory(shape, bytes_per_weight=4 * (2 + moments))
        model = Transformer(shape)
        initialize(model, std=init_std, layers=shape.n_layers, generator=generator)
        return _single_device(work, model, settings)
    weights = initial_weights(shape, std=init_std, generator=generator)
    return _distributed(work, shape, settings, first=weights)


def load_for_training(
    work: Work, folder: Path, *, settings: TrainingSettings, shape: Shape | None = None, reward: bool = False,
    lora: LoraSettings | None = None, moments: bool = False,
) -> TrainingSession:  # fmt: skip
    """The model in `folder`, ready to be trained.

    shape: how it is read from now on, with longer sequences or other positions; as it is when absent. reward: with a
    head of zeros that gives scores, in the place of the output. lora: only adapters are trained, those in `folder`
    where it holds some of this form, else new ones. moments: the optimizer goes on with those it had, where they were
    kept. Raises SettingsError for a layout that cannot train so, and for names of weights that it has not.
    """
    shape = shape or read_shape(folder)
    if settings.layout.devices > 1 and (reward or lora):
        check_data_parallel(settings.layout, "a reward model" if reward else "a model with adapters")
    previous = _adapters_of(folder, lora)
    base = folder if previous is None else previous.base
    build = partial(_build, reward=reward, lora=lora, unfrozen_parameters=settings.unfrozen_parameters)
    files = FolderReader(open_folder(base), _initial_trainable(build, shape, previous, settings.seed))
    if settings.layout.devices == 1:
        session = _single_device(work, _filled(build, shape, files), settings)
    else:
        session = _distributed(work, shape, settings, files=files, build=build)
    session.lora, session.base = lora, base
    session.frozen = files if settings.unfrozen_parameters else None
    if session.first and session.frozen is not None:
        print(session.trainable_note.removeprefix("; "), flush=True)
    stored_moments = open_moments(folder) if moments else None
    if stored_moments is not None:
        session.state.load_moments(stored_moments)
    return session


def training_ranks(work: Work, layout: ParallelLayout) -> RankGroup:
    """The ranks of a layout, each of which may hold a whole model to measure it together with the others."""
    if layout.devices == 1:
        return SINGLE_RANK
    join_ranks(resolve_device(work.device))
    return RankGroup.joined()


def check_data_parallel(layout: ParallelLayout, model_kind: str) -> None:
    """Raises SettingsError for a layout that divides more than the batch and, by FSDP, the weights."""
    if layout.devices != layout.data:
        raise SettingsError(f"{model_kind} is trained on data ranks only; set layout to {{data: {layout.devices}}}")


def _build(
    shape: Shape, *, reward: bool, lora: LoraSettings | None, unfrozen_parameters: Sequence[str]
) -> Transformer | RewardModel:
    model = RewardModel(shape) if reward else Transformer(shape)
    freeze_except(model, shape, unfrozen_parameters)
    if lora is not None:
        add_adapters(trunk_of(model), lora)
    return model


def _filled(build: Callable[[Shape], nn.Module], shape: Shape, files: FolderReader) -> nn.Module:
    model = build(shape)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            weight.copy_(files.read(name, Region.full(weight)))
    return model


def _adapters_of(folder: Path, lora: LoraSettings | None) -> Adapters | None:
    """Those in `folder`, to be trained further; None where none has this form: others become part of the frozen
    model."""
    if lora is None or not is_adapter(folder):
        return None
    adapters = read_adapters(folder)
    alike = adapters.settings.rank == lora.rank and adapters.scale == lora.alpha / lora.rank
    return adapters if alike and set(adapters.settings.target_modules) == set(lora.target_modules) else None


def _initial_trainable(
    build: Callable[[Shape], nn.Module], shape: Shape, previous: Adapters | None, seed: int
) -> dict[str, Tensor]:
    """What is no weight of the frozen model, by name: adapters, and the head of a reward model."""
    with torch.device("meta"):
        model = build(shape)
    added = {name: weight for name, weight in model.named_parameters() if "lora_" in name or name == SCORE_WEIGHT}
    tensors = {name: torch.zeros(weight.shape) for name, weight in added.items()} | initial_adapters(model, seed=seed)
    if previous is not None:
        tensors |= {name: previous.read(name.removeprefix("trunk.")) for name in tensors if "lora_" in name}
    return tensors


@dataclass(frozen=True)
class FolderReader:
    """A finished model as ranks read it. trainable: by name what it has not yet."""

    stored: StoredModel
    trainable: Mapping[str, Tensor]

    def names(self) -> set[str]:
        return set()

    def read(self, name: str, target: Region) -> Tensor:
        own = name.removeprefix("weight/")
        tensor = self.trainable.get(own)
        if tensor is None:
            tensor = self.stored.read(own.removeprefix("trunk.").replace(".base_layer.", "."))
        return tensor[tuple(slice(start, start + size) for start, size in zip(target.offset, target.size, strict=True))]


def _single_device(work: Work, model: Any, settings: TrainingSettings) -> TrainingSession:
    place_model(model, work.device)
    strategy = SingleDeviceStrategy(model, work.executor, ComputeContext(model, settings))
    return TrainingSession(
        work, model.shape, TrainState(model, build_optimizer(model, settings.optimizer)), strategy, ParallelLayout()
    )


def _distributed(work: Work, shape: Shape, settings: TrainingSettings, **source: Any) -> TrainingSession:
    from herd.train.distributed import (
        DistributedStrategy,  # torch.distributed takes a second to import, and most need none of it
    )

    strategy = DistributedStrategy(settings.layout, resolve_device(work.device))
    state = strategy.state(shape, settings.optimizer, settings, **source)
    assert Rank.from_env().number == dist.get_rank()
    return TrainingSession(work, shape, state, strategy, settings.layout)
