"""One model on many devices: tensor, context, pipeline and data parallel, put together from outside the model (3.3.2).

The order is the report's, innermost first: heads and hidden columns are divided inside a server (tensor), then every
sequence (context), then the layers (pipeline), and what is left shares weights, gradients and optimizer (data, FSDP).
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from itertools import product
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.fsdp import FSDPModule, MixedPrecisionPolicy, fully_shard
from torch.distributed.tensor import Replicate
from torch.distributed.tensor.parallel import ColwiseParallel, RowwiseParallel, parallelize_module

from herd.core.errors import SettingsError, TrainingError
from herd.model.collectives import join_ranks
from herd.model.heads import trunk_of
from herd.model.sizes import Shape
from herd.model.transformer import Transformer
from herd.train.batches import Batch, GlobalBatch, RankBatches, builds_rank_batches, rank_rows
from herd.train.checkpoint import TrainState
from herd.train.compute import ComputeContext, autocast
from herd.train.context_parallel import ContextParallelAttention
from herd.train.integrity import MemoryIntegrity, RankIntegrity
from herd.train.layout import ParallelLayout, context_chunks, stage_layers
from herd.train.objectives import NextTokenLoss
from herd.train.optimizer import Optimizer, OptimizerSettings, build_optimizer
from herd.train.pipeline import ModelChunk, Pipeline
from herd.train.regions import TensorReader, is_sharded, local_region, local_tensor, named_weights
from herd.train.settings import FP32, ComputeSettings
from herd.train.single_device import LossFn, MetricSums, num_rows

BatchT = TypeVar("BatchT")


class DistributedStrategy:
    """The ranks of a layout, of which this process is one.

    device: of this rank. Raises SettingsError when the layout has another number of devices than there are ranks.
    timeout_seconds: after so long without an answer a peer counts as dead, and this rank ends with an error.
    """

    def __init__(self, layout: ParallelLayout, device: torch.device, *, timeout_seconds: float = 600.0) -> None:
        join_ranks(device, timeout_seconds=timeout_seconds)
        if dist.get_world_size() != layout.devices:
            raise SettingsError(
                f"the layout is for {layout.devices} devices and {dist.get_world_size()} ranks were started; "
                f"set layout.data to {max(1, dist.get_world_size() * layout.data // layout.devices)}"
            )
        self.layout, self.device = layout, device
        self.tensor, self.context, self.pipeline, self.data = layout.coordinates(dist.get_rank())
        mesh_shape = layout.pipeline, layout.data, layout.context, layout.tensor
        ranks = [layout.rank(t, c, p, d) for p, d, c, t in product(*map(range, mesh_shape))]
        ranks_PDCT = torch.tensor(ranks).reshape(mesh_shape)
        self.mesh = DeviceMesh(device.type, ranks_PDCT, mesh_dim_names=("pipeline", "data", "context", "tensor"))
        # FSDP takes the mean over those who share; losses are summed, so each is made so much larger before.
        self.sharers = layout.data * layout.context
        self.shard = self.mesh["data", "context"]._flatten("shard") if self.sharers > 1 else None

    # ---- the model ----

    def state(
        self, shape: Shape, optimizer: OptimizerSettings, compute: ComputeSettings = FP32, *,
        files: TensorReader | None = None,
        first: Iterable[tuple[str, Tensor]] = (), build: Callable[[Shape], Any] = Transformer,
    ) -> TrainState[Any]:  # fmt: skip
        """The model of `shape`, divided, and its optimizer. Weights come from `files`, or, whole and one after
        another, from `first`; no rank ever holds all of them. build: of the model; what is no plain transformer is
        divided among data ranks only."""
        self.layout.check(shape, length=shape.max_seq_len)
        if shape.tied_output and self.layout.pipeline > 1:
            raise SettingsError("a tied output cannot be pipelined: both ends hold it; set layout.pipeline to 1")
        with torch.device("meta"):
            full_model = build(shape)
        model = self._model_chunks(full_model) if self.layout.pipeline > 1 else full_model
        parts: list[Any] = list(model.values()) if isinstance(model, nn.ModuleDict) else [model]
        for part in parts:
            if self.layout.tensor > 1:
                apply_tensor_parallel(part, self.mesh["tensor"])
            if self.shard is not None:
                self._apply_fsdp(part, compute)
            part.to_empty(device=self.device)
            trunk_of(part).set_max_seq_len(shape.max_seq_len)
        own_weights = dict(named_weights(model))
        for name, weight in own_weights.items():
            if files is not None:
                with torch.no_grad():
                    local_tensor(weight).copy_(files.read(f"weight/{name}", local_region(weight)))
        for name, value in first:
            if name in own_weights:
                where = local_region(own_weights[name])
                part = tuple(slice(o, o + s) for o, s in zip(where.offset, where.size, strict=True))
                with torch.no_grad():
                    local_tensor(own_weights[name]).copy_(value[part])
        self.compute_context, self.compute = ComputeContext(model, compute), compute
        if self.layout.context > 1:
            group = self.mesh["context"].get_group()
            for part in parts:
                part.set_attention_backend(ContextParallelAttention(group, self.layout.context, self.context))
        self.model: Any = model
        self.shape = shape
        self.weights = [weight for weight in model.parameters() if weight.requires_grad]
        self.integrity: MemoryIntegrity = RankIntegrity(self.weights, self.layout, self.device)
        self.runner = Pipeline(parts, self.layout, self.pipeline, self.mesh["pipeline"].get_group(), self.device)
        return TrainState(model, build_optimizer(model, optimizer), replica=self.tensor)

    def _model_chunks(self, model: Transformer) -> nn.ModuleDict:
        chunks = {}
        for chunk, layers in enumerate(stage_layers(model.shape.n_layers, self.layout)[self.pipeline]):
            first = chunk == 0 and self.pipeline == 0
            last = chunk == self.layout.chunks - 1 and self.pipeline == self.layout.pipeline - 1
            chunks[f"{chunk}:"] = ModelChunk(model, layers, first=first, last=last)
        return nn.ModuleDict(chunks)

    def _apply_fsdp(self, part: Any, compute: ComputeSettings) -> None:
        """FSDP over data and context ranks. Weights stay whole between forward and backward pass, as in the report;
        gradients are added in fp32."""
        assert self.shard is not None
        low = None if compute.dtype == "fp32" else torch.bfloat16
        policy = MixedPrecisionPolicy(param_dtype=low, reduce_dtype=torch.float32)
        for module in (*blocks_of(trunk_of(part)), part):
            fully_shard(module, mesh=self.shard, reshard_after_forward=False, mp_policy=policy)

    # ---- a step ----

    def batch(self, batches: RankBatches[BatchT], step: int) -> BatchT:
        """The rows of a step that this rank shares with those that divide tensors, sequences or layers with it; all
        rows, where `batches` cannot make some without the others."""
        return batches.batch(step, self.data, self.layout.data) if builds_rank_batches(batches) else batches.batch(step)

    def gradients(self, batch: Any, loss_fn: LossFn[Any], micro_batch: int | None) -> tuple[float, MetricSums]:
        """As `SingleDeviceStrategy.gradients`, of the whole batch, on every rank. batch: as `batch` makes it."""
        own = self.rank_batch(batch).to(self.device)
        total = batch.loss_denominator
        if self.layout.pipeline > 1:
            if not isinstance(loss_fn, NextTokenLoss):
                raise TrainingError("only the next-token loss can be pipelined; set layout.pipeline to 1")
            value, sums = self.runner.step(own, loss_fn, total / self.sharers, micro_batch or 1)
            value = value / self.sharers
        else:
            value, sums = self._grads(own, loss_fn, total, micro_batch)
        self._match_placements()
        # Ranks that divide tensors or layers see the same loss or none: one of them reports.
        reports = self.tensor == 0 and self.pipeline == self.layout.pipeline - 1
        sources = batch.all_sources if isinstance(batch, Batch) else ()
        metric_names = {f"{kind}/{name}" for kind, name in product(("loss", "tokens"), sources)}
        names = sorted(metric_names or set(sums))
        numbers = torch.tensor([value, *(sums.get(name, 0.0) for name in names)], dtype=torch.float64)
        numbers = (numbers * reports).to(self.device)
        dist.all_reduce(numbers)
        totals = numbers.tolist()
        return totals[0], {name: amount / total for name, amount in zip(names, totals[1:], strict=True)}

    def rank_batch(self, batch: Any) -> Any:
        """This rank's rows, or its positions in them, with what is known of the whole batch."""
        own = batch
        if not isinstance(batch, Batch) or batch.global_batch is None:
            rank_rows(num_rows(batch), self.data, self.layout.data)
            own = batch.parts(self.layout.data)[self.data]
        if not isinstance(batch, Batch):
            return own
        global_batch = GlobalBatch(batch.loss_denominator, batch.attention_documents is not None, batch.all_sources)
        own = replace(own, global_batch=global_batch)
        if self.layout.context == 1:
            return own
        chunk, mirror = context_chunks(own.tokens_BT.shape[1], self.layout.context, self.context)
        return own.select_positions(torch.tensor([*chunk, *mirror]))

    def _grads(self, own: Any, loss_fn: LossFn[Any], total: float, micro_batch: int | None) -> tuple[float, MetricSums]:
        rows = num_rows(own)
        parts = own.parts(-(-rows // (micro_batch or rows)))
        value, sums = 0.0, {}
        for number, part in enumerate(parts):
            if self.shard is not None:
                self.model.set_requires_gradient_sync(number == len(parts) - 1)
            with self.compute_context:
                part_loss, more = loss_fn(self.model, part)
                (part_loss / total * self.sharers).backward()
            value += float(part_loss.detach()) / total
            for name, amount in more.items():
                sums[name] = sums.get(name, 0.0) + amount
        return value, sums

    def _match_placements(self) -> None:
        """Every gradient divided as its weight is; torch leaves that of a divided embedding whole."""
        for weight in self.weights:
            gradient: Any = weight.grad
            placed: Any = weight
            if gradient is None:
                weight.grad = torch.zeros_like(weight)
            elif is_sharded(weight) and gradient.placements != placed.placements:
                weight.grad = gradient.redistribute(placements=placed.placements)

    def optimizer_step(self, optimizer: Optimizer) -> None:
        """Every rank its own parts."""
        optimizer.step()

    def clip_gradients(self, max_norm: float) -> float:
        """The norm over all ranks, each weight counted once."""
        total = torch.zeros((), dtype=torch.float64, device=self.device)
        for weight in self.weights:
            assert weight.grad is not None
            mesh = getattr(weight, "device_mesh", None)
            copies = 1 if mesh is not None and "tensor" in (mesh.mesh_dim_names or ()) else self.layout.tensor
            total += local_tensor(weight.grad).detach().double().square().sum() / copies
        dist.all_reduce(total)
        norm = float(total.sqrt())
        # As torch's clip_grad_norm_ has it.
        scale = min(1.0, max_norm / (norm + 1e-6))
        if scale < 1.0:
            for weight in self.weights:
                if weight.grad is not None:
                    local_tensor(weight.grad).mul_(scale)
        return norm

    @contextlib.contextmanager
    def evaluating(self) -> Iterator[Any]:
        """The model, to be asked and not taught while this lasts; every rank has to ask it equally often."""
        self.model.eval()
        with torch.no_grad(), autocast(self.device, self.compute):
            yield self.model
        for module in self.model.modules():
            if isinstance(module, FSDPModule):
                module.reshard()  # otherwise the whole weights would be taken for the parts that are trained

    def broadcast(self, value: bool) -> bool:
        flag = torch.tensor(int(value), device=self.device)
        dist.broadcast(flag, 0)
        return bool(flag)

    def close(self) -> None:
        """Nothing to end: the group serves until the process ends."""

    def full_model(self, *, on_all: bool = False) -> Transformer | None:
        """The model in one piece, on the first rank or on all; None on the others. Every rank has to ask."""
        return gather_model(self.model, self.shape, self.layout, self.pipeline, on_all=on_all)


def gather_model(
    sharded_model: Any, shape: Shape, layout: ParallelLayout, stage: int, *, on_all: bool = False
) -> Transformer | None:
    """What all ranks hold of a model in one piece, on the first of them or on all. stage: of the pipeline, that this
    rank is."""
    wanted = on_all or dist.get_rank() == 0
    gathered: dict[str, Tensor] = {}
    for name, weight in named_weights(sharded_model):
        full: Any = weight.detach()
        full = full.full_tensor() if hasattr(full, "full_tensor") else full
        if wanted or layout.pipeline > 1:
            gathered[name] = full.cpu()
    gathered_stages: list[Any] = [None] * dist.get_world_size()
    if layout.pipeline > 1:
        dist.all_gather_object(gathered_stages, {n: v.numpy() for n, v in gathered.items()} if stage or on_all else {})
    if not wanted:
        return None
    for more in gathered_stages:
        gathered |= {name: torch.from_numpy(value) for name, value in (more or {}).items()}
    model = Transformer(shape)
    model.load_state_dict(gathered)
    return model


def blocks_of(part: Any) -> list[nn.Module]:
    return list(part.blocks.values() if isinstance(part.blocks, nn.ModuleDict) else part.blocks)


def apply_tensor_parallel(part: Any, mesh: DeviceMesh) -> None:
    """Heads and hidden columns over the ranks of `mesh`, the vocabulary too. Source: Shoeybi et al. 2019 (Megatron)."""
    for block in blocks_of(part):
        parallelize_module(
            block,
            mesh,
            {
                "attention.query": ColwiseParallel(),
                "attention.key": ColwiseParallel(),
                "attention.value": ColwiseParallel(),
                "attention.output": RowwiseParallel(),
                "feed_forward.gate": ColwiseParallel(),
                "feed_forward.up": ColwiseParallel(),
                "feed_forward.down": RowwiseParallel(),
            },
        )
    ends: dict[str, Any] = {}
    if part.embedding is not None:
        ends["embedding"] = RowwiseParallel(input_layouts=Replicate())
    if part.output is not None:
        ends["output"] = ColwiseParallel()
    parallelize_module(part, mesh, ends)
