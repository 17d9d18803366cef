"""Pipeline parallel: layers divided over ranks, micro-batches following one another through them (3.3.2)."""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from herd.core.errors import TrainingError
from herd.model.attention_backends import AttentionBackend, Sdpa, make_mask
from herd.model.layer_inputs import LayerInputs
from herd.model.rope import rope_at, rope_tables
from herd.model.transformer import Transformer, call_eager
from herd.train.batches import Batch
from herd.train.layout import ParallelLayout, can_interleave
from herd.train.objectives import NextTokenLoss, per_source_sums
from herd.train.single_device import MetricSums


class ModelChunk(nn.Module):
    """Some layers of a model, with the embedding if it is the first and norm and output if it is the last.

    Weights have the names they have in the whole model. token_losses: each token's loss of the micro-batches of a step.
    """

    def __init__(self, model: Transformer, layers: range, *, first: bool, last: bool) -> None:
        super().__init__()
        self.shape = model.shape
        self.embedding = model.embedding if first else None
        self.blocks = nn.ModuleDict({str(layer): model.blocks[layer] for layer in layers})
        self.norm = model.norm if last else None
        self.output = model.output if last else None
        self.attention_backend: AttentionBackend = Sdpa()
        self.call = call_eager
        self.loss_fn, self.total = NextTokenLoss(), 1.0
        self.token_losses: list[Tensor] = []

    def set_max_seq_len(self, max_seq_len: int) -> None:
        shape = self.shape
        device = next(self.parameters()).device
        cos, sin = rope_tables(max_seq_len, shape.head_dim, shape.rope_theta, shape.rope_scaling)
        self.cos_TE, self.sin_TE = cos.to(device), sin.to(device)

    def set_attention_backend(self, backend: AttentionBackend) -> None:
        self.attention_backend = backend
        for block in self.blocks.values():
            block.attention.attention_backend = backend  # type: ignore[union-attr]

    def forward(self, x: Tensor, *, targets_BT: Tensor, documents_BT: Tensor) -> Tensor:
        """From ids, or states of the piece before, to states; the last piece gives the summed loss, [1]."""
        x_BTD = x if self.embedding is None else self.embedding(x)
        tokens = x_BTD.shape[1]
        cos_sin = rope_at(self.shape, (self.cos_TE, self.sin_TE), self.attention_backend.positions(tokens), tokens)
        inputs = LayerInputs(
            self.shape, cos_sin, partial(make_mask, self.attention_backend, x_BTD, documents_BT), tokens
        )
        for layer, block in self.blocks.items():
            x_BTD = self.call(block, x_BTD, *inputs.of(int(layer)))
        if self.norm is None or self.output is None:
            return x_BTD
        batch = Batch(documents_BT, targets_BT, documents_BT)
        total = self.loss_fn.finish(batch, self.token_losses.append)(self.norm(x_BTD), self.output.weight)
        return torch.stack((total / self.total,))


class Pipeline:
    """Runs the pieces of this rank: one forward, one backward in turn, interleaved when it holds several.

    Source: Narayanan et al. 2021 (both schedules), by way of torch.distributed.pipelining.
    """

    def __init__(
        self, model_chunks: list[Any], layout: ParallelLayout, stage: int, group: Any, device: torch.device
    ) -> None:
        self.model_chunks, self.layout, self.stage, self.group, self.device = model_chunks, layout, stage, group, device
        self._schedules: dict[tuple[int, ...], Any] = {}

    def step(self, own: Batch, loss_fn: NextTokenLoss, total: float, micro_batch: int) -> tuple[float, MetricSums]:
        """The loss and sums of this rank's batch, on the last stage; gradients on all."""
        rows, tokens = own.tokens_BT.shape
        if rows % micro_batch:
            raise TrainingError(
                f"{rows} rows cannot be divided into micro-batches of {micro_batch}; set micro_batch to 1"
            )
        key = rows // micro_batch, micro_batch, tokens
        if key not in self._schedules:
            self._schedules[key] = self._schedule(*key)
        for model_chunk in self.model_chunks:
            model_chunk.loss_fn, model_chunk.total, model_chunk.token_losses = loss_fn, total, []
        words = {"targets_BT": own.targets_BT, "documents_BT": own.documents_BT}
        first, last = self.stage == 0, self.stage == self.layout.pipeline - 1
        losses: list[Tensor] = []
        self._schedules[key].step(
            *((own.tokens_BT,) if first else ()),
            **({"target": own.targets_BT, "losses": losses} if last else {}),
            **words,
        )
        if not last:
            return 0.0, {}
        each_BT = torch.cat(self.model_chunks[-1].token_losses)
        return float(sum(micro_loss.detach().sum() for micro_loss in losses)), per_source_sums(own, each_BT)

    def _schedule(self, count: int, rows: int, tokens: int) -> Any:
        # Brings torch's compiler along, which a run without a pipeline does without.
        from torch.distributed.pipelining import PipelineStage, Schedule1F1B, ScheduleInterleaved1F1B

        shape = self.model_chunks[0].shape
        stages = self.layout.pipeline * self.layout.chunks
        states = torch.empty(rows, tokens, shape.dim, device="meta", requires_grad=True)
        pipeline_stages = []
        for chunk, model_chunk in enumerate(self.model_chunks):
            number = chunk * self.layout.pipeline + self.stage
            example_input = torch.empty(rows, tokens, dtype=torch.long, device="meta") if number == 0 else states
            example_output = torch.empty(1, device="meta", requires_grad=True) if number == stages - 1 else states
            pipeline_stages.append(
                PipelineStage(
                    model_chunk,
                    number,
                    stages,
                    self.device,
                    input_args=(example_input,),
                    output_args=(example_output,),
                    group=self.group,
                )
            )

        def summed(output: Tensor, target: Tensor) -> Tensor:
            return output.sum()

        if len(pipeline_stages) == 1:
            return Schedule1F1B(pipeline_stages[0], count, loss_fn=summed, scale_grads=False)
        if not can_interleave(count, self.layout.pipeline):
            raise TrainingError(
                f"{count} micro-batches cannot be interleaved over {self.layout.pipeline} stages; set layout.chunks "
                f"to 1 or give each data rank a multiple of {self.layout.pipeline}"
            )
        return ScheduleInterleaved1F1B(pipeline_stages, count, loss_fn=summed, scale_grads=False)
