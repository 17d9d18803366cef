"""The training loop: it yields a record of every step, and whoever iterates decides what to do with it."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Protocol, Self, TypeVar

import torch
from torch import Tensor, nn

from herd.core.errors import TrainingError
from herd.core.places import Place
from herd.core.stage import Work
from herd.train.checkpoint import TrainState, restore, save
from herd.train.schedule import Rate

METRICS = "metrics.jsonl"
# Every batch is worked on in two halves, whose gradients are added. Two numbers have one sum, whichever
# comes first, so one thread and two give the same bits.
PARTS = 2


class Splittable(Protocol):
    """A batch that can be worked on in parts. weight: what the loss is divided by, such as its tokens."""

    @property
    def weight(self) -> float: ...
    def parts(self, count: int) -> Sequence[Self]: ...


B = TypeVar("B", bound=Splittable)
Covariant = TypeVar("Covariant", bound=Splittable, covariant=True)
Sums = dict[str, float]
# The loss summed over a part, and other sums to log; all are divided by the whole batch's weight.
Loss = Callable[[nn.Module, B], tuple[Tensor, Sums]]


class Batches(Protocol[Covariant]):
    """A batch for every step, the same one however often it is asked for."""

    def __len__(self) -> int: ...
    def batch(self, step: int) -> Covariant: ...


@dataclass(frozen=True)
class Step:
    """What one step did. number: counted from 1. rate: the learning rate. seconds: clock time it took."""

    number: int
    loss: float
    gradient_norm: float
    rate: float
    seconds: float
    weight: float
    metrics: Sums = field(default_factory=dict)


def steps(
    state: TrainState[Any], batches: Batches[B], *, loss: Loss[B], rate: Rate, clip: float, place: Place
) -> Iterator[Step]:
    """Trains `state` on the batches it has not seen yet, one step at a time.

    place: its workers say how many threads may work now; that may change from step to step.
    Raises TrainingError when a loss or a gradient is not finite.
    """
    weights = [weight for weight in state.model.parameters() if weight.requires_grad]
    state.model.train()
    with ThreadPoolExecutor(PARTS) as threads:
        for number in range(state.step, len(batches)):
            began = time.perf_counter()
            batch = batches.batch(number)
            parts = batch.parts(PARTS)

            def gradients(part: B, total: float = batch.weight) -> tuple[float, Sums, tuple[Tensor, ...]]:
                value, sums = loss(state.model, part)
                value = value / total
                found = torch.autograd.grad(value, weights)
                return float(value.detach()), {name: amount / total for name, amount in sums.items()}, found

            several = place.workers > 1 and len(parts) > 1
            results = list((threads.map if several else map)(gradients, parts))
            for weight, *found in zip(weights, *(result[2] for result in results), strict=True):
                weight.grad = _added(found)
            value = sum(result[0] for result in results)
            norm = float(nn.utils.clip_grad_norm_(weights, clip))
            if not math.isfinite(norm) or not math.isfinite(value):
                raise TrainingError(f"step {number + 1}: loss {value}, gradient {norm}; try a lower peak_rate")
            for group in state.optimizer.param_groups:
                group["lr"] = rate(number)
            state.optimizer.step()
            state.optimizer.zero_grad(set_to_none=True)
            state.step = number + 1
            sums = {name: sum(result[1][name] for result in results) for name in results[0][1]}
            seconds = time.perf_counter() - began
            yield Step(state.step, value, norm, rate(number), seconds, batch.weight, sums)


def _added(gradients: Sequence[Tensor]) -> Tensor:
    total = gradients[0].clone() if len(gradients) == 1 else gradients[0] + gradients[1]
    assert len(gradients) <= PARTS
    return total


def train(
    work: Work,
    state: TrainState[Any],
    batches: Batches[B],
    *,
    loss: Loss[B],
    rate: Rate,
    clip: float,
    save_every_seconds: float = 15.0,
    enough: Callable[[Step], bool] = lambda step: False,
) -> list[Step]:
    """Runs the steps, going on from the last checkpoint in `work.scratch`; returns a record of every step.

    Saving by the clock costs the same share of time at every model size; when it happens changes nothing
    about the result. enough: asked after every step whether training may end before the batches do; what
    it answers must follow from the step and the weights, so that a resumed run ends where it would have.
    """
    if len(batches) == 0:
        raise TrainingError("there is less text than one batch; give more tokens or a smaller batch_tokens")
    restore(work.scratch, state)
    log = StepLog(work.scratch / METRICS, state.step)
    saved = time.monotonic()
    for step in steps(state, batches, loss=loss, rate=rate, clip=clip, place=work.place):
        log.add(step)
        work.progress(step.number, len(batches), f"loss {step.loss:.3f}")
        # Asked before saving: a run that goes on from a checkpoint does not ask about its step again.
        if enough(step):
            break
        if time.monotonic() - saved > save_every_seconds and step.number < len(batches):
            log.flush()
            save(work.scratch, state)
            saved = time.monotonic()
    log.write(work.out / METRICS)
    return log.steps


class StepLog:
    """The records of all steps, kept in a file that is cut back to the checkpoint after a crash."""

    def __init__(self, file: Path, step: int) -> None:
        self.steps = [one for one in read_steps(file) if one.number <= step] if step else []
        _write_steps(file, self.steps)
        self._stream = file.open("a", encoding="utf-8")

    def add(self, step: Step) -> None:
        self.steps.append(step)
        self._stream.write(json.dumps(asdict(step)) + "\n")

    def flush(self) -> None:
        self._stream.flush()

    def write(self, file: Path) -> None:
        self._stream.close()
        _write_steps(file, self.steps)


def read_steps(file: Path) -> list[Step]:
    """The records in `file`, up to a line that a crash cut off."""
    if not file.exists():
        return []
    found = []
    for line in file.read_text(encoding="utf-8").splitlines():
        try:
            row: dict[str, Any] = json.loads(line)
        except ValueError:
            break
        found.append(Step(**row))
    return found


def _write_steps(file: Path, found: Sequence[Step]) -> None:
    file.write_text("".join(json.dumps(asdict(step)) + "\n" for step in found), encoding="utf-8")
