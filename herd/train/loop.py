"""The training loop: it yields a record of every step, and whoever iterates decides what to do with it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any, Protocol, TypeVar

from torch import Tensor

from herd.core.errors import StoppedError, TrainingError, is_out_of_memory
from herd.core.executor import Place
from herd.core.stage import Work
from herd.model.devices import device_bytes
from herd.run.processes import give_back, stop_asked
from herd.run.ranks import Rank
from herd.train.alone import PARTS, Alone, Loss, Splittable, Sums, by_source, rows_in
from herd.train.batches import Batches, Prefetched
from herd.train.checkpoint import Saver, TrainState, restore
from herd.train.guards import GUARD, GuardSettings, Jumps, finite
from herd.train.integrity import Compared, Held
from herd.train.log import METRICS, Step, StepLog, open_tracker, read_steps
from herd.train.results import TrainingIncidents
from herd.train.saving import StepTrace, collected, schedule
from herd.train.schedule import Schedule
from herd.train.settings import FP32, ComputeSettings
from herd.train.speed import Quick

__all__ = ["METRICS", "Loss", "Step", "Sums", "steps", "train"]

# Steps after which memory that is freed goes back to the system: few enough that little adds up, and so many that
# asking for it again costs nothing.
_TIDY = 32

B = TypeVar("B", bound=Splittable)


class Hands(Protocol):
    """Who computes the gradients of a step: one device (`Alone`) or many (`Team`). held: what it has in memory. batch:
    the rows of a step that are this process's."""

    held: Held

    def batch(self, batches: Any, step: int) -> Any: ...
    def gradients(self, batch: Any, loss: Any, micro_batch: int | None) -> tuple[float, Sums]: ...
    def clip(self, most: float) -> float: ...
    def agree(self, value: bool) -> bool: ...
    def close(self) -> None: ...


def steps(
    state: TrainState[Any],
    batches: Batches[B],
    *,
    loss: Loss[B],
    rate: Schedule,
    clip: float,
    hands: Hands,
    guard: GuardSettings = GUARD,
    micro_batch: int | None = None,
    go_back: Callable[[], bool] = lambda: False,
) -> Iterator[Step]:
    """Trains `state` on the batches it has not seen yet, one step at a time.

    A step whose loss or gradient is not finite, or out of line as `guard` has it, is counted and not taken.
    go_back: brings `state` to an earlier checkpoint, or says that there is none; asked after too many such steps in a
    row. Raises TrainingError when that does not help.
    """
    state.model.train()
    in_a_row = returns = 0
    others, rows = _held_by_others(state), 0
    while state.step + state.offset < len(batches):
        began, worked = time.perf_counter(), time.process_time()
        number = state.step
        batch = hands.batch(batches, number + state.offset)
        if (size := rows_in(batch)) != rows or number % _TIDY == 0:
            give_back()  # what batches of another size were worked on in fits badly, and pieces between pieces add up
            rows = size
        try:
            value, sums = hands.gradients(batch, loss, micro_batch)
        except (RuntimeError, MemoryError) as fault:
            if not is_out_of_memory(fault):
                raise
            raise TrainingError(f"step {number + 1}: out of memory; {_less_memory(batch, micro_batch)}") from None
        norm = hands.clip(clip)
        why = "" if finite(value, norm) else "not finite"
        why = why or ("spike" if guard.is_spike(norm, state.norms) else "")
        for group in state.optimizer.param_groups:
            group["lr"] = rate(number)
        hands.held.check()  # late, so that nothing but the step itself lies between this and what is kept
        if not why:
            state.optimizer.step()
            state.norms = [*state.norms, norm][-guard.window :]
        hands.held.keep()
        state.optimizer.zero_grad(set_to_none=True)
        state.step = number + 1
        in_a_row = in_a_row + 1 if why else 0
        seconds = time.perf_counter() - began
        cost = time.process_time() - worked, device_bytes() - others
        yield Step(
            state.step, value, norm, rate(number), seconds, batch.weight, by_source(sums, batch.weight), why, *cost
        )
        if in_a_row >= guard.in_a_row:
            seen = state.step + state.offset
            if returns >= guard.returns or not go_back():
                raise TrainingError(
                    f"step {number + 1}: loss {value}, gradient {norm}; {in_a_row} steps in a row were no good: "
                    "try a lower lr"
                )
            # From the checkpoint on with the batches that come after the bad ones.
            state.offset = seen - state.step
            in_a_row, returns = 0, returns + 1


def train(
    work: Work,
    state: TrainState[Any],
    batches: Batches[B],
    *,
    loss: Loss[B],
    rate: Schedule,
    clip: float,
    guard: GuardSettings = GUARD,
    hands: Hands | None = None,
    micro_batch: int | None = None,
    flops_per_token: float = 0.0,
    enough: Callable[[Step], bool] = lambda step: False,
) -> list[Step]:
    """Runs the steps, going on from the last checkpoint in `work.scratch`; returns a record of every step.

    When it is saved changes nothing about the result. enough: asked after every step whether training may end before
    the batches do; what it answers must follow from the step and the weights, so that a resumed run ends where it
    would have.
    hands: who computes; one device when absent. flops_per_token: for the share of its speed that is used.
    Raises StoppedError, with everything saved, when the process was asked to end.
    """
    if len(batches) == 0:
        raise TrainingError("there is less text than one batch; give more tokens or a smaller batch_tokens")
    saver = Saver(work.scratch, work.manner.keep_every_steps)
    hands = hands or alone(state, work.place)
    restore(work.scratch, state)
    trackers = [open_tracker(name, work.curves, work.settings) for name in work.manner.trackers]
    rank = Rank.here().number
    own = METRICS if rank == 0 else f"rank-{rank}-{METRICS}"  # in one file ranks would write over each other
    log = StepLog(work.scratch / own, state.step, trackers=trackers, flops_per_token=flops_per_token)
    due, trace = schedule(work.manner, Rank.here().of), StepTrace(work.manner.profile, work.curves)

    def go_back() -> bool:
        saver.wait()
        found = restore(work.scratch, state)
        hands.held.forget()
        log.cut(state.step)
        return found

    ahead = Prefetched(batches)
    compared, jumps = Compared(hands.held.compare, go_back, work.manner.compare_every_steps), Jumps()
    going = steps(
        state, ahead, loss=loss, rate=rate, clip=clip, hands=hands, guard=guard, micro_batch=micro_batch,
        go_back=go_back,
    )  # fmt: skip
    work.saves = True
    try:
        for step in _watched(going, state.step + 1, work.manner.gc_every_steps, trace):
            log.add(step)
            if jumps.add(step.number, step.loss):
                print(f"step {step.number}: loss {step.loss:.3f} is far above those before it", flush=True)
            work.progress(step.number, len(batches), _words(step))
            # Asked before saving: a run that goes on from a checkpoint does not ask about its step again.
            ended = enough(step)
            stopping = hands.agree(stop_asked())
            is_due = hands.agree(due.is_due(step.number))
            # Never among skipped steps: what is gone back to lies before them.
            saving = ((is_due and not step.skipped) or stopping) and step.number < len(batches)
            last = ended or state.step + state.offset >= len(batches)
            if compared.went_back(step, now=saving or last):  # what is damaged is neither saved nor given away
                continue
            if ended:
                break
            if saving:
                with due.saving():
                    state.log = log.flush()
                    saver.save(state)
            if stopping:
                saver.wait()
                raise StoppedError(f"asked to end; step {step.number} is saved, and the same command goes on from it")
    finally:
        work.saves = False
        log.close()
        saver.wait()
        ahead.close()
        hands.close()
    if jumps.steps or compared.told:
        work.record(TrainingIncidents(tuple(jumps.steps), tuple(compared.told)))
    (work.out / METRICS).write_bytes(log.file.read_bytes())
    return read_steps(log.file)


def _watched(going: Iterator[Step], number: int, gc_every_steps: int, trace: StepTrace) -> Iterator[Step]:
    """The steps, with garbage collected between them and those traced that shall be. number: of the first step."""
    with collected(gc_every_steps) as collect:
        try:
            trace.before(number)
            for step in going:
                trace.after(step.number)
                yield step
                collect(step.number)
                trace.before(step.number + 1)
        finally:
            trace.close()


def _held_by_others(state: TrainState[Any]) -> int:
    """Bytes that this process holds for other things than model and optimizer; on a GPU nothing else is counted."""
    device = next(state.model.parameters()).device
    if device.type == "cuda":
        return 0
    give_back()  # what reading a checkpoint took would hide what steps take
    moments = [value for row in state.optimizer.state.values() for value in row.values() if isinstance(value, Tensor)]
    own = sum(one.numel() * one.element_size() for one in (*state.model.parameters(), *moments))
    return device_bytes() - own


def _less_memory(batch: Splittable, micro_batch: int | None) -> str:
    """Which number to change, and to what."""
    rows = micro_batch or -(-rows_in(batch) // PARTS)
    if rows > 1:
        return f"set micro_batch to {rows // 2}, or recompute to true"
    return "set recompute to true, or take a shorter length or a smaller model"


def _words(step: Step) -> str:
    return f"loss {step.loss:.3f}" + (f" (skipped: {step.skipped})" if step.skipped else "")


def alone(state: TrainState[Any], place: Place, compute: ComputeSettings = FP32) -> Alone:
    """One device, for `steps`."""
    return Alone(state.model, place, Quick(state.model, compute))
