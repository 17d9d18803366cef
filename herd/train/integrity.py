"""Whether what ranks hold in memory is what training put there: checksums, kept and compared."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from herd.core.errors import TrainingError
from herd.train.layout import Layout
from herd.train.log import Step
from herd.train.pieces import is_divided, is_divided_by_tensor

_MOST_RETURNS = 3  # in one process; what happens oftener is no ray from space


def checksum(tensors: Sequence[Tensor]) -> Tensor:
    """A number that every flipped bit changes, int64, on the device of the tensors: their words added up, modulo 2^64.

    It reads memory once and keeps nothing; of two bits flipped at once it misses those that cancel, one in 2^64.
    """
    words = [_words(tensor) for tensor in tensors]
    small = [one for one in words if one.numel() <= _SMALL]
    sums = [one.sum(dtype=torch.int64) for one in words if one.numel() > _SMALL]
    # Few calls for what is small: each costs as much as a thousand numbers.
    by_width = {width: [one for one in small if one.element_size() == width] for width in _WORDS}
    sums += [torch.cat(alike).sum(dtype=torch.int64) for alike in by_width.values() if alike]
    return torch.stack(sums).sum() if sums else torch.zeros((), dtype=torch.int64)


def _words(tensor: Tensor) -> Tensor:
    """What of a tensor lies on this rank, as whole numbers: as wide ones as fit."""
    whole: Any = tensor
    held = whole._local_tensor if is_divided(tensor) else tensor  # its own operators would cost more than the sum
    flat = held.detach().reshape(-1)
    return flat.view(torch.int64 if flat.numel() * flat.element_size() % 8 == 0 else _WORDS[flat.element_size()])


_SMALL = 1 << 16
_WORDS = {8: torch.int64, 4: torch.int32, 2: torch.int16, 1: torch.int8}


class Watched:
    """Weights that nothing but a step may change. changed: whether something else did, since it was asked last."""

    def __init__(self, tensors: Sequence[Tensor]) -> None:
        self._tensors = tensors
        self._kept: Tensor | None = None
        self._changed: Tensor | None = None

    def keep(self) -> None:
        """They are as they should be now."""
        self._kept = checksum(self._tensors)

    def check(self) -> None:
        """Looks whether they are as they were kept; on a GPU nothing waits for the answer."""
        if self._kept is not None:
            differs = checksum(self._tensors) != self._kept
            self._changed = differs if self._changed is None else self._changed | differs

    def forget(self) -> None:
        """They were written anew, from a checkpoint."""
        self._kept = self._changed = None

    @property
    def changed(self) -> bool:
        return self._changed is not None and bool(self._changed)


class Held:
    """What a device has in memory for a training, where nobody else has any of it."""

    def keep(self) -> None:
        """It is right now."""

    def check(self) -> None:
        """Looks whether it is still as it was kept."""

    def forget(self) -> None:
        """It was written anew."""

    def compare(self) -> str:
        """What is wrong with it on any rank, in words; empty when all is well. Every rank has to ask."""
        return ""


class HeldByRanks(Held):
    """The weights of a model that ranks divide; tensor ranks hold gains in copies."""

    def __init__(self, weights: Sequence[Tensor], layout: Layout, device: torch.device) -> None:
        self._watched, self._layout, self._device = Watched(weights), layout, device
        self._copied = [weight for weight in weights if not is_divided_by_tensor(weight)]

    def keep(self) -> None:
        self._watched.keep()

    def check(self) -> None:
        self._watched.check()

    def forget(self) -> None:
        self._watched.forget()

    def compare(self) -> str:
        self._watched.check()
        copy = checksum(self._copied)
        own = torch.stack((torch.tensor(int(self._watched.changed), device=copy.device), copy)).to(self._device)
        everybody = [torch.zeros_like(own) for _ in range(dist.get_world_size())]
        dist.all_gather(everybody, own)
        changed, copies = zip(*(one.tolist() for one in everybody), strict=True)
        holders = [self._layout.coordinates(rank)[1:] for rank in range(len(everybody))]
        return faulty([bool(one) for one in changed], copies, holders)


def faulty(changed: Sequence[bool], copies: Sequence[int], holders: Sequence[Hashable]) -> str:
    """Which ranks hold something wrong, in words; empty when none does.

    changed: of each rank, whether its weights are not as its own steps left them. copies: the checksum of what it
    holds as others do, and holders: the same for those that hold the same. Of three or more that disagree the most
    are right; of two nobody knows which.
    """
    told = [f"rank {rank}: its weights changed in memory between two steps" for rank, one in enumerate(changed) if one]
    alike: Mapping[Hashable, list[int]] = defaultdict(list)
    for rank, holder in enumerate(holders):
        alike[holder].append(rank)
    for ranks in alike.values():
        counts = Counter(copies[rank] for rank in ranks)
        if len(counts) == 1 or any(changed[rank] for rank in ranks):
            continue
        (most, count), *_ = counts.most_common(1)
        wrong = [rank for rank in ranks if copies[rank] != most]
        if count > len(ranks) / 2:
            told += [f"rank {rank}: its copy of the weights is not that of {count} others" for rank in wrong]
        else:
            told.append(f"ranks {', '.join(map(str, ranks))}: their copies of the same weights differ")
    return "; ".join(told)


class DamagedError(RuntimeError):
    """Weights were damaged and there is no checkpoint yet: whoever watches over the ranks starts them all again."""


class Compared:
    """Asks all ranks every so many steps what they hold, and brings training back where one is wrong.

    compare: what they say, in words, empty when all is well. go_back: to the last checkpoint, or says there is none.
    told: what was wrong, by step.
    """

    def __init__(self, compare: Callable[[], str], go_back: Callable[[], bool], every_steps: int) -> None:
        self._compare, self._go_back, self._every = compare, go_back, every_steps
        self.told: list[str] = []

    def went_back(self, step: Step, *, now: bool) -> bool:
        """Whether what came after the last checkpoint is forgotten. now: asked whatever the step's number is.

        Raises TrainingError when it happens again and again, and DamagedError when there is nothing to go back to.
        """
        if not (now or step.skipped or step.number % self._every == 0):
            return False
        wrong = self._compare()
        if not wrong:
            return False
        self.told.append(f"step {step.number}: {wrong}")
        print(f"{self.told[-1]}; going back to the last checkpoint", flush=True)
        if len(self.told) > _MOST_RETURNS:
            raise TrainingError(f"{self.told[-1]}, for the {len(self.told)}th time; leave that machine out")
        if not self._go_back():
            raise DamagedError(f"{self.told[-1]}, and nothing is saved yet")
        return True
