"""Pipeline parallel: layers divided over ranks, micro-batches following one another through them (3.3.2)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.distributed.pipelining import PipelineStage, Schedule1F1B, ScheduleInterleaved1F1B

from herd.core.errors import TrainingError
from herd.model.attending import Attending, Sdpa
from herd.model.rope import angles
from herd.model.transformer import Transformer, plainly
from herd.train.alone import Sums
from herd.train.batches import Batch
from herd.train.layout import Layout
from herd.train.objectives import NextToken, sums_of


class Piece(nn.Module):
    """Some layers of a model, with the embedding if it is the first and norm and output if it is the last.

    Weights have the names they have in the whole model. told: each token's loss of the micro-batches of a step.
    """

    def __init__(self, whole: Transformer, layers: range, *, first: bool, last: bool) -> None:
        super().__init__()
        self.shape = whole.shape
        self.embedding = whole.embedding if first else None
        self.blocks = nn.ModuleDict({str(layer): whole.blocks[layer] for layer in layers})
        self.norm = whole.norm if last else None
        self.output = whole.output if last else None
        self.attending: Attending = Sdpa()
        self.call = plainly
        self.loss, self.total = NextToken(), 1.0
        self.told: list[Tensor] = []

    def stretch(self, context: int) -> None:
        shape = self.shape
        device = next(self.parameters()).device
        cos, sin = angles(context, shape.head_width, shape.rope_theta, shape.rope_scaling)
        self.cos_TE, self.sin_TE = cos.to(device), sin.to(device)

    def use(self, attending: Attending) -> None:
        self.attending = attending
        for block in self.blocks.values():
            block.attention.attending = attending  # type: ignore[union-attr]

    def forward(self, x: Tensor, *, targets_BT: Tensor, documents_BT: Tensor) -> Tensor:
        """From ids, or states of the piece before, to states; the last piece gives the summed loss, [1]."""
        x_BTD = x if self.embedding is None else self.embedding(x)
        places = self.attending.positions(x_BTD.shape[1])
        cos, sin, mask = self.cos_TE[places], self.sin_TE[places], self.attending.mask(documents_BT)
        for block in self.blocks.values():
            x_BTD = self.call(block, x_BTD, cos, sin, mask)
        if self.norm is None or self.output is None:
            return x_BTD
        batch = Batch(documents_BT, targets_BT, documents_BT)
        total = self.loss.finish(batch, self.told.append)(self.norm(x_BTD), self.output.weight)
        return torch.stack((total / self.total,))


class Pipeline:
    """Runs the pieces of this rank: one forward, one backward in turn, interleaved when it holds several.

    Source: Narayanan et al. 2021 (both schedules), by way of torch.distributed.pipelining.
    """

    def __init__(self, pieces: list[Any], layout: Layout, stage: int, group: Any, device: torch.device) -> None:
        self.pieces, self.layout, self.stage, self.group, self.device = pieces, layout, stage, group, device
        self._made: dict[tuple[int, ...], Any] = {}

    def step(self, own: Batch, loss: NextToken, total: float, micro_batch: int) -> tuple[float, Sums]:
        """The loss and sums of this rank's batch, on the last stage; gradients on all."""
        rows, tokens = own.tokens_BT.shape
        if rows % micro_batch:
            raise TrainingError(
                f"{rows} rows cannot be divided into micro-batches of {micro_batch}; set micro_batch to 1"
            )
        key = rows // micro_batch, micro_batch, tokens
        if key not in self._made:
            self._made[key] = self._schedule(*key)
        for piece in self.pieces:
            piece.loss, piece.total, piece.told = loss, total, []
        words = {"targets_BT": own.targets_BT, "documents_BT": own.documents_BT}
        first, last = self.stage == 0, self.stage == self.layout.pipeline - 1
        losses: list[Tensor] = []
        self._made[key].step(
            *((own.tokens_BT,) if first else ()),
            **({"target": own.targets_BT, "losses": losses} if last else {}),
            **words,
        )
        if not last:
            return 0.0, {}
        each_BT = torch.cat(self.pieces[-1].told)
        return float(sum(one.detach().sum() for one in losses)), sums_of(own, each_BT)

    def _schedule(self, count: int, rows: int, tokens: int) -> Any:
        shape = self.pieces[0].shape
        stages = self.layout.pipeline * self.layout.chunks
        states = torch.empty(rows, tokens, shape.width, device="meta", requires_grad=True)
        made = []
        for chunk, piece in enumerate(self.pieces):
            number = chunk * self.layout.pipeline + self.stage
            given = torch.empty(rows, tokens, dtype=torch.long, device="meta") if number == 0 else states
            gives = torch.empty(1, device="meta", requires_grad=True) if number == stages - 1 else states
            made.append(
                PipelineStage(
                    piece, number, stages, self.device, input_args=(given,), output_args=(gives,), group=self.group
                )
            )

        def summed(output: Tensor, target: Tensor) -> Tensor:
            return output.sum()

        if len(made) == 1:
            return Schedule1F1B(made[0], count, loss_fn=summed, scale_grads=False)
        if count % self.layout.pipeline:
            raise TrainingError(
                f"{count} micro-batches cannot be interleaved over {self.layout.pipeline} stages; set layout.chunks "
                f"to 1 or give each data rank a multiple of {self.layout.pipeline}"
            )
        return ScheduleInterleaved1F1B(made, count, loss_fn=summed, scale_grads=False)
