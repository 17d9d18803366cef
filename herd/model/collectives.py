"""Work of which ranks do a part each, with the same outcome as one process has."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar

import torch
import torch.distributed as dist

from herd.core.stage import Work

InputT = TypeVar("InputT")
ResultT = TypeVar("ResultT")

# Ranks that are done early wait for the others; who watches over ranks sees sooner when one is dead.
_INFERENCE_TIMEOUT_SECONDS = 86_400.0


def join_ranks(device: torch.device, *, timeout_seconds: float = 600.0) -> None:
    """Lets the ranks of this job, as their launcher named them, hear one another.

    device: of this rank. timeout_seconds: after so long without an answer a peer counts as dead."""
    if dist.is_initialized():
        return
    if device.type == "cuda":
        torch.cuda.set_device(device)
    dist.init_process_group("nccl" if device.type == "cuda" else "gloo", timeout=timedelta(seconds=timeout_seconds))


@dataclass(frozen=True)
class RankGroup:
    """Ranks that each hold a whole model, divide what it is asked, and all get all of the results (data parallel).

    rank: number of this one. size: how many there are; of one alone nothing is sent. Every method has to be called by
    all of them, in one order.
    """

    rank: int = 0
    size: int = 1

    @classmethod
    def of(cls, work: Work) -> RankGroup:
        """The ranks that run this stage. Only results are sent, by gloo, so that ranks may share a GPU."""
        if work.ranks == 1:
            return cls()
        join_ranks(torch.device("cpu"), timeout_seconds=_INFERENCE_TIMEOUT_SECONDS)
        return cls.joined()

    @classmethod
    def joined(cls) -> RankGroup:
        """The ranks that hear one another; this one alone where none was joined."""
        return cls(dist.get_rank(), dist.get_world_size()) if dist.is_initialized() else cls()

    @property
    def first(self) -> bool:
        """Whether this is the rank whose output counts."""
        return self.rank == 0

    def part(self, inputs: Sequence[InputT]) -> Sequence[InputT]:
        """What this rank does of a list: every `size`-th."""
        return inputs[self.rank :: self.size]

    def gather(self, own: ResultT) -> list[ResultT]:
        """What every rank has, by its number."""
        if self.size == 1:
            return [own]
        gathered: list[Any] = [None] * self.size
        dist.all_gather_object(gathered, own)
        return gathered

    def map(
        self,
        inputs: Sequence[InputT],
        compute: Callable[[InputT], ResultT],
        *,
        local_map: Callable[[Callable[[InputT], ResultT], Sequence[InputT]], Iterable[ResultT]] = map,
        collective: bool = False,
    ) -> list[ResultT]:
        """`compute` of every item, in order; each item is done by one of the ranks.

        local_map: how a rank does its part, such as by threads. collective: whether `compute` itself waits for the
        other ranks, as a model does whose weights they share: then all call it equally often, and some once more than
        is needed."""
        own = list(self.part(inputs))
        if collective and len(own) < -(-len(inputs) // self.size):
            own.append(inputs[-1])
        gathered = self.gather(list(local_map(compute, own)))
        return [gathered[number % self.size][number // self.size] for number in range(len(inputs))]

    def on_first(self, compute: Callable[[], ResultT]) -> ResultT:
        """What the first rank finds out, such as from a file or a server that all would ask the same."""
        if self.size == 1:
            return compute()
        return self.gather(compute() if self.first else None)[0]  # type: ignore[return-value]


SINGLE_RANK = RankGroup()
