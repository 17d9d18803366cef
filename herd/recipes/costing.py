"""What the stages of a recipe take on given devices: days, hours, money, memory, layout, failures.

Arithmetic on the plan: nothing runs and no device is asked. A run that is made replaces the estimate of its speed.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import groupby
from pathlib import Path
from typing import Any

from herd.core.artifacts import is_complete
from herd.core.settings import build
from herd.core.stage import Plan
from herd.core.terminal import count_of
from herd.corpus.sources import planned_text_tokens
from herd.model.sizes import Shape
from herd.pretrain.planning import PlannedTraining, bytes_words, measured_words, planned_trainings, shape_of
from herd.recipes.tuning_plans import TUNING_SETTINGS, PlannedFinetuning
from herd.recipes.whole_models import whole_model
from herd.scaling.cost import expected_loss
from herd.train.cost import CARD_UTILIZATION, FAILURES_PER_DEVICE_DAY, Cost, Speed, TrainingJob, cost, usable_bytes
from herd.train.layout import TrainableParams, can_interleave
from herd.train.log import METRICS_FILE, read_steps
from herd.train.machines import Machine
from herd.train.memory import DeviceMemory, DtypeName, training_memory
from herd.train.settings import TrainingSettings

# Forward and backward pass of a layer, in some hundred launches of about 10 microseconds: less work than this waits for
# launches, and no share of a device's peak says how long that takes.
_LAYER_SECONDS = 1e-3


@dataclass(frozen=True)
class StageForecast:
    """What a training will take. costs: of each size of batch, in the order of the run. steps: of all. notes: what
    stands in its way, or was taken for granted."""

    training: PlannedTraining | PlannedFinetuning
    costs: tuple[Cost, ...]
    steps: int
    notes: tuple[str, ...] = ()

    @property
    def key(self) -> str:
        return self.training.plan.key

    @property
    def main(self) -> Cost:
        """That of the batches with the most tokens."""
        return max(self.costs, key=lambda part: part.job.tokens)

    @property
    def memory(self) -> DeviceMemory:
        """At its fullest."""
        return max((part.memory for part in self.costs), key=lambda device: device.total)

    @property
    def tokens(self) -> float:
        return sum(part.job.tokens for part in self.costs)

    @property
    def flops(self) -> float:
        return sum(part.job.flops for part in self.costs)

    @property
    def days(self) -> float:
        return sum(part.days for part in self.costs)

    @property
    def device_hours(self) -> float:
        return sum(part.device_hours for part in self.costs)

    @property
    def money(self) -> float:
        return sum(part.money for part in self.costs)

    @property
    def is_least(self) -> bool:
        """Whether the time is no more than a bound from below: so little work a launch keeps no GPU busy, and nobody
        measured it."""
        main = self.main
        seconds = self.days * 86_400 / self.steps
        launches = (
            main.job.shape.n_layers / main.layout.pipeline * main.job.micro_batches(main.layout, main.micro_batch)
        )
        return main.speed_is_estimated and seconds < _LAYER_SECONDS * launches

    @property
    def failures(self) -> float:
        return sum(part.failures for part in self.costs)

    def to_row(self) -> dict[str, Any]:
        """As plain data; memory in bytes."""
        main = self.main
        return {
            "key": self.key,
            "stage": self.training.plan.stage.name,
            "weights": self.training.shape.num_params,
            "devices": main.devices,
            "layout": asdict(main.layout),
            "micro_batch": main.micro_batch,
            "memory": asdict(self.memory) | {"total": self.memory.total},
            "fits": all(part.fits for part in self.costs),
            "steps": self.steps,
            "tokens": self.tokens,
            "flops": self.flops,
            "days": self.days,
            "device_hours": self.device_hours,
            "money": self.money,
            "flops_per_second": main.flops_per_second,
            "utilization": main.utilization,
            "speed_from": main.speed_from,
            "failures": self.failures,
            "save_every_seconds": main.save_every_seconds,
            "useful": main.useful,
            "is_least": self.is_least,
            "notes": list(self.notes),
        }


def training_jobs(training: PlannedTraining) -> list[TrainingJob]:
    """A job for each size of batch that a training takes, in the order of the run."""
    s, shape = training.settings, training.shape
    return [
        TrainingJob(
            shape, tokens=rows * steps * length, length=length, batch_tokens=rows * length, dtype=s.dtype,
            recompute=s.recompute, compiled=s.compile, trainable=s.trainable_params(shape),
        )
        for (rows, length), steps in training.profile_job.batch_shapes.items()
    ]  # fmt: skip


def forecast_costs(
    plans: Sequence[Plan], machine: Machine, *, artifacts: Path, mfu: float | None = None
) -> list[StageForecast]:
    """What every pre-training among `plans` takes on devices of this kind, in the layout that its settings say.

    artifacts: folder of the run's; what is made there gives its speed to trainings like it. mfu: of what is not
    measured; as large runs had it when absent. Raises SettingsError for a layout that cannot train so.
    """
    trainings = planned_trainings(plans, planned_text_tokens)
    measured = _measured_speeds(trainings, artifacts)
    return [_forecast(training, machine, measured, mfu) for training in trainings]


def _forecast(
    training: PlannedTraining, machine: Machine, measured: Mapping[object, Speed], mfu: float | None
) -> StageForecast:
    layout, own = training.settings.layout, training.settings.micro_batch
    costs = []
    for job in training_jobs(training):
        layout.check(training.shape, length=job.length)
        speed = measured.get(training.plan.key) or measured.get(_kind(training))
        if speed is None and mfu is not None:
            speed = Speed(mfu * job.peak_flops(machine), "as given")
        costs.append(cost(job, layout.devices, machine, layout=layout, micro_batch=own, speed=speed))
    notes: list[str] = []
    if training.epochs is not None:
        notes.append("how many tokens is guessed from the bytes of the files, before any text is left out")
    notes += fit_notes(costs, training.settings, training.shape, machine)
    for part in costs:
        count = part.job.micro_batches(layout, own or 1)
        if layout.chunks > 1 and not can_interleave(count, layout.pipeline):
            notes.append(
                f"{count} micro-batches cannot be interleaved over {layout.pipeline} stages; set layout.chunks to 1"
            )
        elif layout.chunks == 1 and count < layout.pipeline:
            notes.append(
                f"{count} micro-batches do not fill {layout.pipeline} stages; take fewer data or pipeline ranks"
            )
    forecast = StageForecast(training, tuple(costs), training.steps)
    return replace(forecast, notes=(*_whole_notes(training.plan, training.shape, machine, "bf16", forecast), *notes))


def fit_notes(costs: Sequence[Cost], s: TrainingSettings, shape: Shape, machine: Machine) -> Iterator[str]:
    """Whether a training fits into a device, and whether it would be much faster in another type."""
    fullest = max(part.memory.total for part in costs)
    if usable_bytes(machine.memory_bytes) < fullest <= machine.memory_bytes:
        yield "fits only just, with less than buffers and fragments usually take"
    if not all(part.fits for part in costs):
        mend = "a larger layout or shorter rows" if s.recompute is True else "recompute, or more devices"
        yield f"does not fit into {machine.memory_bytes / 1e9:.0f} GB a device; take {mend}"
    if s.dtype == "fp32" and shape.num_params > _LARGE:
        yield _FP32_NOTE


_FP32_NOTE = "its products are in fp32; dtype: bf16 and compile: true are many times as fast on a GPU"
_LARGE = 20_000_000  # weights from which nobody trains on a CPU but for patience


def whole_model_notes(plans: Sequence[Plan], trained: Sequence[StageForecast], machine: Machine) -> Iterator[str]:
    """Of the stages that are no pre-training: whether the model that they hold whole, or train, fits into a device;
    a line for all of which the same is to be said."""
    shapes = {forecast.key: forecast.training.shape for forecast in trained}
    calls: dict[tuple[str, str], int] = {}
    for plan in plans:
        shape = None if plan.key in shapes else shape_of(plan, shapes)
        if shape is not None:
            notes = (*_whole_notes(plan, shape, machine, "bf16"), *_state_notes(plan, shape, machine))
            for note in notes:
                calls[plan.stage.name, note] = calls.get((plan.stage.name, note), 0) + 1
    for (name, note), count in calls.items():
        yield f"{name}{f', {count} of them' * (count > 1)}: {note}"


def _state_notes(plan: Plan, shape: Shape, machine: Machine) -> Iterator[str]:
    """Of fine-tuning, whose rows nobody has counted: whether what it holds without them fits."""
    kind = TUNING_SETTINGS.get(plan.stage.name)
    if kind is None:
        return
    s = build(kind, plan.settings["settings"], where=plan.key)
    trainable = s.trainable_params(shape) if s.lora is None else TrainableParams(0)
    one_row = training_memory(shape, s.layout, length=1, micro_batches=1, trainable=trainable, dtype=s.dtype)
    held = one_row.weights + one_row.gradients + one_row.optimizer
    if held > usable_bytes(machine.memory_bytes):
        yield (
            f"weights, gradients and moments alone take {held / 1e9:,.0f} GB a device of "
            f"{machine.memory_bytes / 1e9:.0f}; a larger layout, or lora"
        )


def _whole_notes(
    plan: Plan, shape: Shape, machine: Machine, dtype: DtypeName, forecast: StageForecast | None = None
) -> Iterator[str]:
    """Whether a stage that holds a whole model fits into a device. forecast: of its own training."""
    held = 0.0
    if forecast is not None:
        if forecast.main.layout.devices == 1 and plan.stage.name != "extend_context":
            return  # it is the one that is trained
        held = max(part.memory.weights + part.memory.gradients + part.memory.optimizer for part in forecast.costs)
    needed = whole_model(plan, shape, dtype, training=held)
    if needed is not None and (note := needed.note(machine.memory_bytes)):
        yield note


def oversized_stages(
    plans: Sequence[Plan], machine: Machine, *, artifacts: Path, dtype: DtypeName = "bf16"
) -> list[str]:
    """A line for every stage that is still to be made and holds a whole model which no device has room for, and one for
    all of which the same is to be said. dtype: that models are read in. Raises SettingsError for a layout that cannot
    train so."""
    forecasts = {forecast.key: forecast for forecast in forecast_costs(plans, machine, artifacts=artifacts)}
    shapes = {key: forecast.training.shape for key, forecast in forecasts.items()}
    calls: dict[str, list[str]] = {}
    for plan in plans:
        if is_complete(artifacts / plan.key) or (shape := shape_of(plan, shapes)) is None:
            continue
        for note in _whole_notes(plan, shape, machine, dtype, forecasts.get(plan.key)):
            calls.setdefault(note, []).append(plan.key)
    return [f"{', '.join(keys)}: {note}" for note, keys in calls.items()]


def expected_losses(
    plans: Sequence[Plan], forecasts: Sequence[StageForecast], artifacts: Path, law: Path | None
) -> dict[str, dict[str, Any]]:
    """By key the loss to expect of new models, as `herd.scaling.cost.expected_loss` has it. law: of another run; when
    absent the recipe's own, of what it was not fitted on, and nothing where that is not made."""
    fitted_on: set[str] = set()
    if law is None:
        fits = [plan for plan in plans if plan.stage.name == "fit_law" and is_complete(artifacts / plan.key)]
        if not fits:
            return {}
        law = artifacts / fits[-1].key
        fitted_on = {parent.key for parent in fits[-1].parents}
    return {
        forecast.key: expected_loss(replace(forecast.main.job, tokens=forecast.tokens), law)
        for forecast in forecasts
        if forecast.training.is_new_model and forecast.key not in fitted_on
    }


# ---- what was measured ----


def _kind(training: PlannedTraining) -> object:
    """What trainings that are as fast have in common."""
    s = training.settings
    return replace(training.shape, max_seq_len=s.length), s.length, s.layout, s.dtype, s.compile, s.recompute


def _measured_speeds(trainings: Sequence[PlannedTraining], artifacts: Path) -> dict[object, Speed]:
    """By key, and by what is as fast, the speed of what is made."""
    speeds: dict[object, Speed] = {}
    for training in trainings:
        folder = artifacts / training.plan.key
        if not is_complete(folder):
            continue
        steps = read_steps(folder / METRICS_FILE)
        tokens_per_second = statistics.median(step.loss_denominator / step.seconds for step in steps)
        flops = training.shape.training_flops(training.settings.length)
        devices = training.settings.layout.devices
        speed = Speed(tokens_per_second * flops / devices, f"measured by {training.plan.key}")
        speeds[training.plan.key] = speed
        speeds.setdefault(_kind(training), speed)
    return speeds


# ---- in words ----


def forecast_lines(
    forecasts: Sequence[StageForecast], machine: Machine, artifacts: Path, *, gpu_advice: bool = True
) -> Iterator[str]:
    """For every training a line, more where it takes long, one for all of a ladder that no device notices, and their
    sum. gpu_advice: whether it is told what only a GPU gains by."""
    for small, group in groupby(forecasts, lambda forecast: _is_rung(forecast, artifacts)):
        rows = list(group)
        if small and len(rows) > 2:
            yield _ladder_line(rows)
        else:
            for forecast in rows:
                yield from _training_lines(forecast, machine, artifacts, gpu_advice=gpu_advice)
    if forecasts:
        total = sum(forecast.days for forecast in forecasts)
        least = [forecast for forecast in forecasts if forecast.is_least]
        if least:
            yield (
                f"{len(least)} of {len(forecasts)} trainings are too small to keep such a device busy, so that no more "
                "is known than the least they take there; `herd plan --estimate` tries them here"
            )
        tunings = any(isinstance(forecast.training, PlannedFinetuning) for forecast in forecasts)
        what, above = ("training", "evaluation comes") if tunings else ("pre-training", "alignment and the corpus come")
        yield (
            f"{what} takes {'at least ' * bool(least)}{time_words(total)} of work one after another, "
            f"{sum(forecast.device_hours for forecast in forecasts):,.1f} device hours, "
            f"{sum(forecast.money for forecast in forecasts):,.0f} dollars, where it is not measured by estimate; "
            f"{above} on top"
        )
        yield from _slower_line(forecasts)


def _slower_line(forecasts: Sequence[StageForecast]) -> Iterator[str]:
    """What the report's smaller models say of an estimate by its largest one."""
    longest = max(forecasts, key=lambda forecast: forecast.device_hours)
    weights = longest.training.shape.num_params
    if not longest.main.speed_is_estimated or longest.is_least or longest.device_hours < 1:
        return
    for most, name, reached in CARD_UTILIZATION:
        if weights <= most:
            hours = longest.device_hours * longest.main.utilization / reached
            yield (
                f"{longest.key}: smaller models keep devices less busy than that estimate; at the {reached:.0%} that "
                f"Llama 3's {name} reached in all, by its card, it takes {hours:,.0f} device hours: set --mfu to what "
                "yours reach"
            )
            return


def _is_rung(forecast: StageForecast, artifacts: Path) -> bool:
    """Whether it is a new model so small, and not made yet, that a line of its own would say nothing."""
    new = forecast.training.is_new_model and forecast.is_least
    return new and not forecast.notes and not is_complete(artifacts / forecast.key)


def _ladder_line(forecasts: Sequence[StageForecast]) -> str:
    """Of new models planned one after another."""
    weights = [forecast.training.shape.num_params for forecast in forecasts]
    memory = max(forecast.memory.total for forecast in forecasts)
    tokens, flops, days = (
        sum(getattr(forecast, name) for forecast in forecasts) for name in ("tokens", "flops", "days")
    )
    return (
        f"{forecasts[0].key} to {forecasts[-1].key}: {len(forecasts)} models of {min(weights):,} to {max(weights):,} "
        f"weights; at most {bytes_words(memory)} a device; {tokens:,.0f} tokens, {flops:.2e} FLOPs in all: at least "
        f"{time_words(days)}"
    )


def _training_lines(forecast: StageForecast, machine: Machine, artifacts: Path, *, gpu_advice: bool) -> Iterator[str]:
    """Of one training, more where it takes long."""
    main, memory = forecast.main, forecast.memory
    parts = ("weights", "gradients", "optimizer", "activations", "logits")
    listed = ", ".join(f"{name} {bytes_words(getattr(memory, name))}" for name in parts)
    steps = count_of(forecast.steps, "step")
    idle = f", pipeline idle {main.idle:.0%} of its work" if main.layout.pipeline > 1 else ""
    yield (
        f"{forecast.key}: {_layout_words(main)}; {bytes_words(memory.total)} of "
        f"{bytes_words(machine.memory_bytes)} a device ({listed}){idle}; {steps}, "
        f"{forecast.tokens:,.0f} tokens, {forecast.flops:.2e} FLOPs: "
        f"{'at least ' * forecast.is_least}{time_words(forecast.days)}"
        f"{measured_words(artifacts / forecast.key) if isinstance(forecast.training, PlannedTraining) else ''}"
    )
    if forecast.device_hours >= 1:
        yield (
            f"    {forecast.device_hours:,.0f} device hours, {forecast.money:,.0f} dollars at "
            f"{machine.price_per_hour:g} an hour; {main.flops_per_second / 1e12:,.1f} TFLOP/s a device "
            f"({main.utilization:.1%} MFU), {main.speed_from}"
        )
        hours = 24 / (FAILURES_PER_DEVICE_DAY * main.devices)
        failures = f"about {forecast.failures:,.0f} failures" if forecast.failures >= 1.5 else "hardly a failure"
        yield (
            f"    {failures} to expect, one in {hours:,.1f} h; saving every "
            f"{main.save_every_seconds / 60:,.1f} min leaves {main.useful:.1%} of the time for training"
        )
    for note in forecast.notes:
        if gpu_advice or note != _FP32_NOTE:
            yield f"    {note}"


def _layout_words(main: Cost) -> str:
    layout = main.layout
    names = ("tensor", "context", "pipeline", "data")
    divided = [f"{name} {getattr(layout, name)}" for name in names if getattr(layout, name) > 1]
    chunks = f", {layout.chunks} chunks" if layout.chunks > 1 else ""
    shared = f" ({' x '.join(divided)}{chunks})" if divided else ""
    return f"{count_of(layout.devices, 'device')}{shared}, {main.micro_batch:,} rows at once"


def time_words(days: float) -> str:
    """Days, or what is less in hours, minutes or seconds."""
    for unit, size in (("days", 1.0), ("h", 1 / 24), ("min", 1 / 1440)):
        if days >= 2 * size:
            return f"{days / size:,.1f} {unit}"
    return f"{days * 86_400:,.2g} s"
