"""The training loop: it yields a record of every step, and whoever iterates decides what to do with it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from itertools import chain
from pathlib import Path
from typing import Any, Protocol, TypeVar

from torch import Tensor

from herd.core.errors import StoppedError, TrainingError, is_out_of_memory
from herd.core.executor import Executor
from herd.core.stage import Work
from herd.model.devices import device_bytes
from herd.run.processes import stop_requested, trim_memory
from herd.run.ranks import Rank
from herd.train.batches import Batches, PrefetchedBatches
from herd.train.checkpoint import Saver, TrainState, restore
from herd.train.compute import ComputeContext
from herd.train.guards import GUARD, GuardSettings, LossJumps, all_finite
from herd.train.integrity import IntegrityCheck, MemoryIntegrity
from herd.train.log import METRICS_FILE, Step, StepLog, open_tracker, read_steps
from herd.train.micro_batch import micro_batches
from herd.train.optimizer import Optimizer, set_lr
from herd.train.results import TrainingIncidents
from herd.train.saving import StepTrace, collect_garbage, save_schedule
from herd.train.schedule import LrSchedule
from herd.train.settings import FP32, ComputeSettings
from herd.train.single_device import (
    BATCH_HALVES,
    LossFn,
    MetricSums,
    SingleDeviceStrategy,
    Splittable,
    num_rows,
    sums_to_metrics,
)

__all__ = ["METRICS_FILE", "LossFn", "MetricSums", "Step", "train", "train_steps"]

# Steps after which memory that is freed goes back to the system: few enough that little adds up, and so many that
# asking for it again costs nothing.
_TIDY = 32

SplittableT = TypeVar("SplittableT", bound=Splittable)


class Strategy(Protocol):
    """Who computes the gradients of a step and moves the weights: one device (`SingleDeviceStrategy`) or many
    (`DistributedStrategy`). integrity: what it has in memory. batch: the rows of a step that are this process's."""

    integrity: MemoryIntegrity

    def batch(self, batches: Any, step: int) -> Any: ...
    def gradients(self, batch: Any, loss_fn: Any, micro_batch: int | None) -> tuple[float, MetricSums]: ...
    def clip_gradients(self, max_norm: float) -> float: ...
    def optimizer_step(self, optimizer: Optimizer) -> None: ...
    def broadcast(self, value: bool) -> bool: ...
    def close(self) -> None: ...


def train_steps(
    state: TrainState[Any],
    batches: Batches[SplittableT],
    *,
    loss_fn: LossFn[SplittableT],
    lr_schedule: LrSchedule,
    max_grad_norm: float,
    strategy: Strategy,
    guard: GuardSettings = GUARD,
    micro_batch: int | None = None,
    roll_back: Callable[[], bool] = lambda: False,
) -> Iterator[Step]:
    """Trains `state` on the batches it has not seen yet, one step at a time.

    A step whose loss or gradient is not finite, or out of line as `guard` has it, is counted and not taken.
    roll_back: brings `state` to an earlier checkpoint, or says that there is none; asked after too many such steps in a
    row. Raises TrainingError when that does not help.
    """
    state.model.train()
    consecutive_skips = rollbacks = 0
    other_bytes, rows = _other_bytes(state), 0
    fitting = micro_batches(state, strategy) if micro_batch is None else None
    while state.step + state.offset < len(batches):
        began, worked = time.perf_counter(), time.process_time()
        number = state.step
        batch = strategy.batch(batches, number + state.offset)
        if (size := num_rows(batch)) != rows or number % _TIDY == 0:
            trim_memory()  # what batches of another size were worked on in fits badly, and pieces between pieces add up
            rows = size
        at_once = micro_batch if fitting is None else fitting.rows(batch)
        try:
            value, sums = strategy.gradients(batch, loss_fn, at_once)
        except (RuntimeError, MemoryError) as fault:
            if not is_out_of_memory(fault):
                raise
            raise TrainingError(f"step {number + 1}: out of memory; {_less_memory(batch, at_once)}") from None
        norm = strategy.clip_gradients(max_grad_norm)
        skip_reason = "" if all_finite(value, norm) else "not finite"
        skip_reason = skip_reason or ("spike" if guard.is_spike(norm, state.grad_norms) else "")
        set_lr(state.optimizer, lr_schedule(number))
        strategy.integrity.check()  # late, so that nothing but the step itself lies between this and what is kept
        if not skip_reason:
            strategy.optimizer_step(state.optimizer)
            state.grad_norms = [*state.grad_norms, norm][-guard.window :]
        strategy.integrity.record()
        state.optimizer.zero_grad(set_to_none=True)
        state.step = number + 1
        consecutive_skips = consecutive_skips + 1 if skip_reason else 0
        seconds = time.perf_counter() - began
        cost = time.process_time() - worked, device_bytes() - other_bytes
        yield Step(
            state.step,
            value,
            norm,
            lr_schedule(number),
            seconds,
            batch.loss_denominator,
            sums_to_metrics(sums, batch.loss_denominator),
            skip_reason,
            *cost,
        )
        if consecutive_skips >= guard.max_consecutive_skips:
            batches_used = state.step + state.offset
            if rollbacks >= guard.max_rollbacks or not roll_back():
                raise TrainingError(
                    f"step {number + 1}: loss {value}, gradient {norm}; {consecutive_skips} steps in a row were no "
                    "good: try a lower lr"
                )
            # From the checkpoint on with the batches that come after the bad ones.
            state.offset = batches_used - state.step
            consecutive_skips, rollbacks = 0, rollbacks + 1


def train(
    work: Work,
    state: TrainState[Any],
    batches: Batches[SplittableT],
    *,
    loss_fn: LossFn[SplittableT],
    lr_schedule: LrSchedule,
    max_grad_norm: float,
    guard: GuardSettings = GUARD,
    strategy: Strategy | None = None,
    micro_batch: int | None = None,
    flops_per_token: float = 0.0,
    stop_when: Callable[[Step], bool] = lambda step: False,
) -> list[Step]:
    """Runs the steps, going on from the last checkpoint in `work.scratch`; returns a record of every step.

    When it is saved changes nothing about the result. stop_when: asked after every step whether training may end before
    the batches do; what it answers must follow from the step and the weights, so that a resumed run ends where it
    would have.
    strategy: who computes; one device when absent. flops_per_token: for the share of its speed that is used.
    Raises StoppedError, with everything saved, when the process was asked to end.
    """
    if len(batches) == 0:
        raise TrainingError("there is less text than one batch; give more tokens or a smaller batch_tokens")
    saver = Saver(work.scratch, work.options.keep_every_steps)
    strategy = strategy or single_device(state, work.executor)
    restore(work.scratch, state)
    trackers = [open_tracker(name, work.curves, work.settings) for name in work.options.trackers]
    log = StepLog(_own_metrics(work.scratch), state.step, trackers=trackers, flops_per_token=flops_per_token)
    due, trace = save_schedule(work.options, Rank.from_env().world_size), StepTrace(work.options.profile, work.curves)

    def roll_back() -> bool:
        saver.wait()
        restored = restore(work.scratch, state)
        strategy.integrity.reset()
        log.cut(state.step)
        return restored

    prefetched = PrefetchedBatches(batches)
    integrity_check = IntegrityCheck(strategy.integrity.compare, roll_back, work.options.compare_every_steps)
    loss_jumps = LossJumps()
    records = train_steps(
        state, prefetched, loss_fn=loss_fn, lr_schedule=lr_schedule, max_grad_norm=max_grad_norm, strategy=strategy,
        guard=guard, micro_batch=micro_batch, roll_back=roll_back,
    )  # fmt: skip
    work.saves = True
    try:
        for step in _instrumented(records, state.step + 1, work.options.gc_every_steps, trace):
            log.add(step)
            if loss_jumps.add(step.number, step.loss):
                print(f"step {step.number}: loss {step.loss:.3f} is far above those before it", flush=True)
            work.progress(step.number, len(batches), _words(step))
            # Asked before saving: a run that goes on from a checkpoint does not ask about its step again.
            finished = stop_when(step)
            stopping = strategy.broadcast(stop_requested())
            is_due = strategy.broadcast(due.is_due(step.number))
            # Never among skipped steps: what is gone back to lies before them.
            saving = ((is_due and not step.skipped) or stopping) and step.number < len(batches)
            last = finished or state.step + state.offset >= len(batches)
            if integrity_check.roll_back_if_damaged(step, now=saving or last):
                continue  # what is damaged is neither saved nor given away
            if finished:
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
        prefetched.close()
        strategy.close()
    if loss_jumps.steps or integrity_check.reports:
        work.record(TrainingIncidents(tuple(loss_jumps.steps), tuple(integrity_check.reports)))
    (work.out / METRICS_FILE).write_bytes(log.file.read_bytes())
    return read_steps(log.file)


def _own_metrics(folder: Path) -> Path:
    """This rank's record of its steps; in one file ranks would write over each other."""
    rank = Rank.from_env().number
    return folder / (METRICS_FILE if rank == 0 else f"rank-{rank}-{METRICS_FILE}")


def _instrumented(records: Iterator[Step], number: int, gc_every_steps: int, trace: StepTrace) -> Iterator[Step]:
    """The steps, with garbage collected between them and those traced that shall be. number: of the first step."""
    with collect_garbage(gc_every_steps) as collect:
        try:
            trace.before(number)
            for step in records:
                trace.after(step.number)
                yield step
                collect(step.number)
                trace.before(step.number + 1)
        finally:
            trace.close()


def _other_bytes(state: TrainState[Any]) -> int:
    """Bytes that this process holds for other things than model and optimizer; on a GPU nothing else is counted."""
    device = next(state.model.parameters()).device
    if device.type == "cuda":
        return 0
    trim_memory()  # what reading a checkpoint took would hide what steps take
    optimizer_values = chain.from_iterable(row.values() for row in state.optimizer.state.values())
    moments = [value for value in optimizer_values if isinstance(value, Tensor)]
    own = sum(tensor.numel() * tensor.element_size() for tensor in (*state.model.parameters(), *moments))
    return device_bytes() - own


def _less_memory(batch: Splittable, micro_batch: int | None) -> str:
    """Which number to change, and to what."""
    rows = micro_batch or -(-num_rows(batch) // BATCH_HALVES)
    if rows > 1:
        return f"set micro_batch to {rows // 2}, or recompute to true"
    return "set recompute to true, or take a shorter length or a smaller model"


def _words(step: Step) -> str:
    return f"loss {step.loss:.3f}" + (f" (skipped: {step.skipped})" if step.skipped else "")


def single_device(state: TrainState[Any], executor: Executor, compute: ComputeSettings = FP32) -> SingleDeviceStrategy:
    """One device, for `train_steps`."""
    return SingleDeviceStrategy(state.model, executor, ComputeContext(state.model, compute))
