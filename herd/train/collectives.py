"""Work of which ranks do a part each, with the same outcome as one process has."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any, TypeVar

import torch
import torch.distributed as dist

InputT = TypeVar("InputT")
ResultT = TypeVar("ResultT")


def join_ranks(device: torch.device, *, timeout_seconds: float = 600.0) -> None:
    """Lets the ranks of this job, as their launcher named them, hear one another.

    device: of this rank. timeout_seconds: after so long without an answer a peer counts as dead."""
    if dist.is_initialized():
        return
    if device.type == "cuda":
        torch.cuda.set_device(device)
    dist.init_process_group("nccl" if device.type == "cuda" else "gloo", timeout=timedelta(seconds=timeout_seconds))


def map_over_ranks(
    inputs: Sequence[InputT], compute: Callable[[InputT], ResultT], *, collective: bool = False
) -> list[ResultT]:
    """`compute` of every item, in order, on every rank; each item is done by one of them. Every rank has to ask.

    collective: whether `compute` itself waits for the other ranks, as a model does whose weights they share: then all
    call it equally often, and some once more than is needed."""
    ranks = dist.get_world_size() if dist.is_initialized() else 1
    if ranks == 1:
        return [compute(value) for value in inputs]
    own = list(inputs[dist.get_rank() :: ranks])
    rounds = -(-len(inputs) // ranks)
    if collective and len(own) < rounds:
        own.append(inputs[-1])
    gathered: list[Any] = [None] * ranks
    dist.all_gather_object(gathered, [compute(value) for value in own])
    return [gathered[number % ranks][number // ranks] for number in range(len(inputs))]
