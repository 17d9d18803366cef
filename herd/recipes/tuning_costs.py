"""What fine-tunings take on given devices, by the arithmetic of pre-training."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Sequence
from pathlib import Path

from herd.core.artifacts import is_complete
from herd.core.stage import Plan
from herd.recipes.costing import StageForecast, fit_notes
from herd.recipes.tuning_plans import PlannedFinetuning, planned_finetunings
from herd.train.cost import Speed, cost, usable_bytes
from herd.train.log import METRICS_FILE, read_steps
from herd.train.machines import Machine
from herd.train.memory import training_memory


def forecast_tunings(
    plans: Sequence[Plan], machine: Machine, *, artifacts: Path, mfu: float | None = None
) -> list[StageForecast]:
    """What every fine-tuning among `plans` takes whose rows can be counted before, as `forecast_costs` has it. Raises
    DataError for rows that cannot be learnt."""
    return [forecast_tuning(tuning, machine, artifacts=artifacts, mfu=mfu) for tuning in planned_finetunings(plans)]


def forecast_tuning(
    tuning: PlannedFinetuning, machine: Machine, *, artifacts: Path, mfu: float | None = None
) -> StageForecast:
    """What one of them takes. artifacts: where one that is made gives its own speed. mfu: as large runs had it when
    absent, of what is not measured."""
    job, layout = tuning.job, tuning.settings.layout
    speed = _measured_speed(tuning, artifacts)
    if speed is None and mfu is not None:
        speed = Speed(mfu * job.peak_flops(machine), "as given")
    estimate = cost(job, layout.devices, machine, layout=layout, micro_batch=tuning.micro_batch, speed=speed)
    notes = [*fit_notes([estimate], tuning.settings, tuning.shape, machine), *_longest_notes(tuning, machine)]
    return StageForecast(tuning, (estimate,), tuning.steps, tuple(notes))


def _measured_speed(tuning: PlannedFinetuning, artifacts: Path) -> Speed | None:
    """By all FLOPs and the time of its steps, in which what is only read is a small part."""
    folder = artifacts / tuning.plan.key
    if not is_complete(folder):
        return None
    steps = read_steps(folder / METRICS_FILE)
    seconds = statistics.median(step.seconds for step in steps) * tuning.steps
    return Speed(tuning.flops / seconds / tuning.settings.layout.devices, f"measured by {tuning.plan.key}")


def _longest_notes(tuning: PlannedFinetuning, machine: Machine) -> Iterator[str]:
    """Whether the longest row fits, which no micro-batch makes shorter; the batch is of the mean length."""
    job, layout = tuning.job, tuning.settings.layout
    longest = training_memory(
        tuning.shape, layout, length=tuning.counted.longest, micro_batches=tuning.counted.per_step,
        trainable=job.trainable, dtype=job.dtype, recompute=job.recompute, compiled=job.compiled,
    )  # fmt: skip
    if tuning.counted.longest > job.length and longest.total > usable_bytes(machine.memory_bytes):
        yield (
            f"its longest row, of {tuning.counted.longest:,} tokens, takes {longest.total / 1e9:,.0f} GB alone; leave "
            "out such rows, or take recompute, lora or a larger layout"
        )


def count_lines(forecasts: Sequence[StageForecast]) -> Iterator[str]:
    """How many rows and steps fine-tunings make, and whether these are few."""
    for forecast in forecasts:
        if isinstance(forecast.training, PlannedFinetuning):
            for line in forecast.training.counted.lines():
                yield f"{forecast.key}: {line}"
