"""Whether what ranks hold in memory is what training put there: checksums, kept and compared."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from herd.core.errors import TrainingError
from herd.train.layout import ParallelLayout
from herd.train.log import Step
from herd.train.regions import is_sharded, is_tensor_sharded

_MOST_RETURNS = 3  # in one process; what happens oftener is no ray from space


def tensor_checksum(tensors: Sequence[Tensor]) -> Tensor:
    """A number that every flipped bit changes, int64, on the device of the tensors: their words added up, modulo 2^64.

    It reads memory once and keeps nothing; of two bits flipped at once it misses those that cancel, one in 2^64.
    """
    sums: list[Tensor] = []
    small: defaultdict[int, list[Tensor]] = defaultdict(list)  # by width
    for vector in map(_words, tensors):
        if vector.numel() > _SMALL:
            sums.append(vector.sum(dtype=torch.int64))
        else:
            small[vector.element_size()].append(vector)
    # Few calls for what is small: each costs as much as a thousand numbers.
    sums += [torch.cat(alike).sum(dtype=torch.int64) for alike in small.values()]
    return torch.stack(sums).sum() if sums else torch.zeros((), dtype=torch.int64)


def _words(tensor: Tensor) -> Tensor:
    """What of a tensor lies on this rank, as whole numbers: as wide ones as fit."""
    sharded: Any = tensor
    # its own operators would cost more than the sum
    local_part = sharded._local_tensor if is_sharded(tensor) else tensor
    flat = local_part.detach().reshape(-1)
    return flat.view(torch.int64 if flat.numel() * flat.element_size() % 8 == 0 else _WORDS[flat.element_size()])


_SMALL = 1 << 16
_WORDS = {8: torch.int64, 4: torch.int32, 2: torch.int16, 1: torch.int8}


class WeightWatch:
    """Weights that nothing but a step may change. changed: whether something else did, since it was asked last."""

    def __init__(self, tensors: Sequence[Tensor]) -> None:
        self._tensors = tensors
        self._recorded: Tensor | None = None
        self._changed: Tensor | None = None

    def record(self) -> None:
        """They are as they should be now."""
        self._recorded = tensor_checksum(self._tensors)

    def check(self) -> None:
        """Looks whether they are as they were kept; on a GPU nothing waits for the answer."""
        if self._recorded is not None:
            differs = tensor_checksum(self._tensors) != self._recorded
            self._changed = differs if self._changed is None else self._changed | differs

    def reset(self) -> None:
        """They were written anew, from a checkpoint."""
        self._recorded = self._changed = None

    @property
    def changed(self) -> bool:
        return self._changed is not None and bool(self._changed)


class MemoryIntegrity:
    """What a device has in memory for a training, where nobody else has any of it."""

    def record(self) -> None:
        """It is right now."""

    def check(self) -> None:
        """Looks whether it is still as it was kept."""

    def reset(self) -> None:
        """It was written anew."""

    def compare(self) -> str:
        """What is wrong with it on any rank, in words; empty when all is well. Every rank has to ask."""
        return ""


class RankIntegrity(MemoryIntegrity):
    """The weights of a model that ranks divide; tensor ranks hold gains in copies."""

    def __init__(self, weights: Sequence[Tensor], layout: ParallelLayout, device: torch.device) -> None:
        self._watch, self._layout, self._device = WeightWatch(weights), layout, device
        self._replicated = [weight for weight in weights if not is_tensor_sharded(weight)]

    def record(self) -> None:
        self._watch.record()

    def check(self) -> None:
        self._watch.check()

    def reset(self) -> None:
        self._watch.reset()

    def compare(self) -> str:
        self._watch.check()
        own_checksum = tensor_checksum(self._replicated)
        own = torch.stack((torch.tensor(int(self._watch.changed), device=own_checksum.device), own_checksum)).to(
            self._device
        )
        gathered = [torch.zeros_like(own) for _ in range(dist.get_world_size())]
        dist.all_gather(gathered, own)
        changed, copies = zip(*(row.tolist() for row in gathered), strict=True)
        holders = [self._layout.coordinates(rank)[1:] for rank in range(len(gathered))]
        return describe_faults([bool(flag) for flag in changed], copies, holders)


def describe_faults(changed: Sequence[bool], copies: Sequence[int], replica_groups: Sequence[Hashable]) -> str:
    """Which ranks hold something wrong, in words; empty when none does.

    changed: of each rank, whether its weights are not as its own steps left them. copies: the checksum of what it
    holds as others do, and replica_groups: the same for those that hold the same. Of three or more that disagree the
    most are right; of two nobody knows which.
    """
    faults = [
        f"rank {rank}: its weights changed in memory between two steps"
        for rank, is_changed in enumerate(changed)
        if is_changed
    ]
    alike: Mapping[Hashable, list[int]] = defaultdict(list)
    for rank, group in enumerate(replica_groups):
        alike[group].append(rank)
    for ranks in alike.values():
        counts = Counter(copies[rank] for rank in ranks)
        if len(counts) == 1 or any(changed[rank] for rank in ranks):
            continue
        (majority, count), *_ = counts.most_common(1)
        wrong = [rank for rank in ranks if copies[rank] != majority]
        if count > len(ranks) / 2:
            faults += [f"rank {rank}: its copy of the weights is not that of {count} others" for rank in wrong]
        else:
            faults.append(f"ranks {', '.join(map(str, ranks))}: their copies of the same weights differ")
    return "; ".join(faults)


class DamagedWeightsError(RuntimeError):
    """Weights were damaged and there is no checkpoint yet: whoever watches over the ranks starts them all again."""


class IntegrityCheck:
    """Asks all ranks every so many steps what they hold, and brings training back where one is wrong.

    compare: what they say, in words, empty when all is well. roll_back: to the last checkpoint, or says there is none.
    reports: what was wrong, by step.
    """

    def __init__(self, compare: Callable[[], str], roll_back: Callable[[], bool], every_steps: int) -> None:
        self._compare, self._roll_back, self._every = compare, roll_back, every_steps
        self.reports: list[str] = []

    def roll_back_if_damaged(self, step: Step, *, now: bool) -> bool:
        """Whether what came after the last checkpoint is forgotten. now: asked whatever the step's number is.

        Raises TrainingError when it happens again and again, and DamagedWeightsError when there is nothing to go back
        to.
        """
        if not (now or step.skipped or step.number % self._every == 0):
            return False
        wrong = self._compare()
        if not wrong:
            return False
        self.reports.append(f"step {step.number}: {wrong}")
        print(f"{self.reports[-1]}; going back to the last checkpoint", flush=True)
        if len(self.reports) > _MOST_RETURNS:
            raise TrainingError(f"{self.reports[-1]}, for the {len(self.reports)}th time; leave that machine out")
        if not self._roll_back():
            raise DamagedWeightsError(f"{self.reports[-1]}, and nothing is saved yet")
        return True
