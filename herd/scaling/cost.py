"""What a run costs before anyone pays: FLOPs, days, money, memory, a layout that fits, and failures to expect."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from herd.core.errors import SettingsError, did_you_mean
from herd.core.settings import PositiveFloat, PositiveInt, build, read_yaml, settings
from herd.model.sizes import Shape
from herd.scaling.laws import days
from herd.train.layout import DeviceMemory, ParallelLayout, checkpoint_interval, pipeline_bubble, training_memory

MACHINES_FILE = Path(__file__).with_name("machines.yaml")
# The share of its peak that a device reaches while it is not idle: what 430 TFLOP/s of table 4's first row leave when
# its pipeline idles 5.9 % of its work. Rows two and three of the table are predicted with it.
BUSY_UTILIZATION = 0.46
# Unexpected interruptions a device and day: 419 in 54 days on 16,384 (Llama 3, 3.3.4, table 5).
FAILURES_PER_DEVICE_DAY = 419 / (54 * 16_384)
_RESTART_SECONDS, _SAVE_SECONDS = 300.0, 10.0
_BF16, _FP32 = 2, 4  # bytes
_FULL = 0.92  # of a device's memory; the rest goes to buffers and fragments


@settings
class Machine:
    """One kind of device: see machines.yaml for the units."""

    peak_flops: PositiveFloat
    fp32_flops: PositiveFloat
    memory_bytes: PositiveFloat
    link: PositiveFloat
    network: PositiveFloat
    server: PositiveInt
    price_per_hour: PositiveFloat


def load_machine(name: str, file: Path = MACHINES_FILE) -> Machine:
    """The device called `name` in a file. Raises SettingsError with the nearest name."""
    rows, lines = read_yaml(file)
    if name not in rows:
        raise SettingsError(f"{file} has no machine {name!r}{did_you_mean(name, rows)}")
    return build(Machine, rows[name], where=f"{file}: {name}", lines=lines)


@dataclass(frozen=True)
class TrainingJob:
    """What is to be trained: `tokens` in batches of `batch_tokens`, in sequences of `length`."""

    shape: Shape
    tokens: float
    length: int
    batch_tokens: int

    @property
    def flops(self) -> float:
        """All of them, with attention; 6 N D has neither attention nor the embedding's absence."""
        return self.tokens * self.shape.training_flops(self.length)

    @property
    def rough_flops(self) -> float:
        """By 6 N D."""
        return 6 * self.shape.num_params * self.tokens

    def micro_batches(self, layout: ParallelLayout) -> int:
        """Sequences of a data rank in a batch, each a micro-batch."""
        return max(1, self.batch_tokens // (self.length * layout.data))

    def memory(self, layout: ParallelLayout) -> DeviceMemory:
        return training_memory(self.shape, layout, length=self.length, micro_batches=self.micro_batches(layout))


@dataclass(frozen=True)
class Traffic:
    """Bytes that a device sends in a step, by dimension, and the seconds they take on its wire."""

    bytes: dict[str, float]
    seconds: dict[str, float]


def step_traffic(job: TrainingJob, layout: ParallelLayout, hardware: Machine) -> Traffic:
    """What a step sends. Tensor ranks gather and scatter a layer's activations, context ranks its keys and values,
    pipeline ranks what lies between their layers, and data ranks weights in bf16 and gradients in fp32, once a step.

    Source: Llama 3, 3.3.2; Korthikanti et al. 2022, 4.2 (sequence parallelism: four gathers and four scatters a layer,
    there and back).
    """
    shape, tokens = job.shape, job.batch_tokens / (layout.data * layout.context)
    layers, own = shape.n_layers / layout.pipeline, shape.num_params / (layout.tensor * layout.pipeline)
    sharing = layout.data * layout.context
    keys = 2 * shape.n_kv_heads * shape.head_dim / layout.tensor  # numbers a token, values among them
    rows = tokens * layout.context / job.length
    sent_bytes = {
        "tensor": 8 * _BF16 * tokens * shape.dim * layers * _other_share(layout.tensor),
        # There, again on the way back, and slopes.
        "context": 3 * _BF16 * rows * job.length * keys * layers * _other_share(layout.context),
        "pipeline": 2 * _BF16 * tokens * shape.dim / layout.tensor * layout.chunks * (layout.pipeline > 1),
        "data": (_BF16 + _FP32) * own * _other_share(sharing),
    }
    reach = {"tensor": layout.tensor, "context": layout.tensor * layout.context}
    reach |= {"pipeline": reach["context"] * layout.pipeline, "data": layout.devices}
    wire = {name: hardware.link if devices <= hardware.server else hardware.network for name, devices in reach.items()}
    return Traffic(sent_bytes, {name: count / wire[name] for name, count in sent_bytes.items()})


def _other_share(ranks: int) -> float:
    return (ranks - 1) / ranks


def work_seconds(job: TrainingJob, layout: ParallelLayout, hardware: Machine) -> float:
    """Of a step, while a device is busy."""
    flops = job.batch_tokens * job.shape.training_flops(job.length)
    return flops / (layout.devices * BUSY_UTILIZATION * hardware.peak_flops)


def wait_share(job: TrainingJob, layout: ParallelLayout, hardware: Machine) -> float:
    """Seconds that a device waits for others, for each second of its work.

    Keys and values are gathered before attention and their slopes scattered after it, neither hidden behind work
    (Llama 3, 3.3.2). Weights and gradients are, as far as there is work enough to hide them. What tensor ranks send is
    part of how busy a device gets.
    """
    sent_seconds, work = step_traffic(job, layout, hardware).seconds, work_seconds(job, layout, hardware)
    return (sent_seconds["context"] + max(0.0, sent_seconds["data"] - work)) / work


def utilization(job: TrainingJob, layout: ParallelLayout, hardware: Machine) -> float:
    """The MFU to expect."""
    idle = pipeline_bubble(layout, job.micro_batches(layout))
    return BUSY_UTILIZATION / (1 + idle) / (1 + wait_share(job, layout, hardware))


def best_layout(job: TrainingJob, devices: int, hardware: Machine) -> ParallelLayout:
    """Of all layouts that divide the model and fit into memory, the one with the highest MFU; of equal ones that with
    the fewest tensor, then context, then pipeline ranks.

    Raises SettingsError with what would fit when none does.
    """
    candidates = [
        (
            -round(utilization(job, layout, hardware), 4),
            layout.tensor,
            layout.context,
            layout.pipeline,
            -layout.chunks,
            layout,
        )
        for layout in _layouts(job, devices, hardware)
        if job.memory(layout).total <= _FULL * hardware.memory_bytes
    ]
    if candidates:
        return min(candidates, key=lambda candidate: candidate[:-1])[-1]
    least = min((job.memory(layout).total for layout in _layouts(job, devices, hardware)), default=0.0)
    if not least:
        raise SettingsError(
            f"{devices:,} devices do not share out over this model and a batch of {job.batch_tokens:,} tokens; "
            "try a power of two, or a larger batch"
        )
    raise SettingsError(
        f"{devices:,} devices of {hardware.memory_bytes / 1e9:.0f} GB cannot hold it: every layout wants "
        f"{least / 1e9:.0f} GB or more on one; take about {_up(devices * least / (_FULL * hardware.memory_bytes)):,} "
        "devices, shorter sequences, or larger ones"
    )


def _up(count: float) -> int:
    """The next power of two."""
    power = 1
    while power < count:
        power *= 2
    return power


def _layouts(job: TrainingJob, devices: int, hardware: Machine) -> Iterator[ParallelLayout]:
    rows = max(1, job.batch_tokens // job.length)
    for tensor in (n for n in range(1, hardware.server + 1) if devices % n == 0):
        for context in _divisors(devices // tensor):
            for pipeline in _divisors(devices // (tensor * context)):
                data = devices // (tensor * context * pipeline)
                if data > rows or pipeline > job.shape.n_layers + 2:
                    continue
                # As many chunks as there are layers: the shortest bubble.
                chunks = max(1, (job.shape.n_layers + 2) // pipeline) if pipeline > 1 else 1
                layout = ParallelLayout(tensor=tensor, context=context, pipeline=pipeline, data=data, chunks=chunks)
                try:
                    layout.check(job.shape, length=job.length)
                except SettingsError:
                    continue
                yield layout


def _divisors(number: int) -> list[int]:
    return [n for n in range(1, min(number, 256) + 1) if number % n == 0]


@dataclass(frozen=True)
class Cost:
    """Everything `herd budget` prints. failures: to expect in all. save_every_seconds: Young's. useful: the share of
    the time that is neither saved, restarted nor done again."""

    job: TrainingJob
    devices: int
    layout: ParallelLayout
    memory: DeviceMemory
    idle: float
    flops_per_second: float
    utilization: float
    days: float
    money: float
    failures: float
    save_every_seconds: float
    useful: float

    @property
    def device_hours(self) -> float:
        return self.days * 24 * self.devices

    @property
    def rough_days(self) -> float:
        """By 6 N D, which leaves attention out: what is usually quoted."""
        return days(self.job.rough_flops, devices=self.devices, flops_per_second=self.flops_per_second)


def cost(
    job: TrainingJob,
    devices: int,
    hardware: Machine,
    *,
    layout: ParallelLayout | None = None,
    flops_per_second: float | None = None,
) -> Cost:
    """What training takes. layout: the best when absent. flops_per_second: of a device; as estimated when absent.

    Days count work only, as the report's do; `useful` says by how much failures stretch them. Raises SettingsError for
    a layout of another number of devices.
    """
    if layout is not None:
        rows = max(1, job.batch_tokens // (job.length * layout.data))
        layout.check_devices(devices, rows=rows, length=job.length, batch_tokens=job.batch_tokens)
    layout = layout or best_layout(job, devices, hardware)
    speed = flops_per_second or utilization(job, layout, hardware) * hardware.peak_flops
    training_days = days(job.flops, devices=devices, flops_per_second=speed)
    seconds_between_failures = 86_400 / (FAILURES_PER_DEVICE_DAY * devices)
    save_every = checkpoint_interval(_SAVE_SECONDS, seconds_between_failures)
    # Time lost a second: saving, and for each failure a restart and half an interval done again.
    lost = _SAVE_SECONDS / save_every + (_RESTART_SECONDS + save_every / 2) / seconds_between_failures
    return Cost(
        job,
        devices,
        layout,
        job.memory(layout),
        pipeline_bubble(layout, job.micro_batches(layout)),
        speed,
        speed / hardware.peak_flops,
        training_days,
        training_days * 24 * devices * hardware.price_per_hour,
        FAILURES_PER_DEVICE_DAY * devices * training_days,
        save_every,
        1 / (1 + lost),
    )


def cost_lines(estimate: Cost, hardware: Machine) -> Iterator[str]:
    """A cost in words."""
    job, device_memory = estimate.job, estimate.memory
    rough = job.rough_flops
    layout = estimate.layout
    yield f"FLOPs     {job.flops:.3e} with attention ({rough:.2e} by 6 N D); {job.shape.num_params:,} weights"
    yield (
        f"time      {estimate.days:,.1f} days ({estimate.rough_days:,.1f} by 6 N D) of {estimate.devices:,} devices at "
        f"{estimate.flops_per_second / 1e12:,.0f} "
        f"TFLOP/s ({estimate.utilization:.1%} MFU); {estimate.device_hours:,.0f} device hours"
    )
    yield f"money     {estimate.money:,.0f} dollars at {hardware.price_per_hour} a device hour"
    yield (
        f"layout    tensor {layout.tensor} x context {layout.context} x pipeline {layout.pipeline} x data "
        f"{layout.data}, {layout.chunks} chunks; the pipeline idles {estimate.idle:.1%} of its work"
    )
    yield f"traffic   {_sent(job, layout, hardware)}"
    parts = ("weights", "gradients", "optimizer", "activations", "logits")
    listed = ", ".join(f"{name} {getattr(device_memory, name) / 1e9:.2f}" for name in parts)
    yield f"memory    {device_memory.total / 1e9:.1f} GB a device ({listed})"
    if device_memory.total > hardware.memory_bytes:
        yield f"          more than the {hardware.memory_bytes / 1e9:.0f} GB there are"
    yield (
        f"failures  {estimate.failures:,.0f} to expect, one in "
        f"{86_400 / (FAILURES_PER_DEVICE_DAY * estimate.devices) / 3600:,.1f} h; saving every "
        f"{estimate.save_every_seconds / 60:,.1f} min leaves {estimate.useful:.1%} of the time for training"
    )
    low = 0.1 * hardware.peak_flops
    if estimate.flops_per_second < low:
        yield (
            f"note      {estimate.flops_per_second / 1e12:,.0f} TFLOP/s is {estimate.utilization:.0%} of this device's "
            f"{hardware.peak_flops / 1e12:,.0f} in bf16; large runs reach 35 to 45 %. In fp32 it has "
            f"{hardware.fp32_flops / 1e12:,.0f}"
        )


def _sent(job: TrainingJob, layout: ParallelLayout, hardware: Machine) -> str:
    sent, work = step_traffic(job, layout, hardware), work_seconds(job, layout, hardware)
    parts = [
        f"{name} {count / 1e9:,.1f} GB ({sent.seconds[name]:,.2f} s)" for name, count in sent.bytes.items() if count
    ]
    if not parts:
        return "none: one device"
    wait = f"{wait_share(job, layout, hardware):.1%}"
    return f"a device sends in a step of {work:,.2f} s of work: {', '.join(parts)}; it waits {wait} as long as it works"


def expected_loss(job: TrainingJob, law: Path) -> dict[str, Any]:
    """The loss to expect by a law fitted on runs of one's own, with its interval and its floor."""
    from herd.scaling.parametric import read_law  # scipy takes a while, and most budgets ask for no law

    fitted = read_law(law)
    low, high = fitted.loss_interval(job.shape.num_params, job.tokens)
    return {
        "loss": fitted.law.loss(job.shape.num_params, job.tokens),
        "interval": [low, high],
        "floor": fitted.law.floor,
    }


def loss_line(expected: Mapping[str, Any]) -> str:
    low, high = expected["interval"]
    return (
        f"loss      {expected['loss']:.3f} nats a token [{low:.3f}, {high:.3f}] of the mix that the law was fitted on, "
        f"of which {expected['floor']:.3f} no size takes away; the interval knows the runs' noise, not whether the law "
        "holds so far beyond them"
    )


def cost_row(estimate: Cost) -> dict[str, Any]:
    """A cost as plain data. Memory in bytes, times in seconds where the name does not say days or hours."""
    row = {name: value for name, value in asdict(estimate).items() if name != "job"}
    row |= {
        "flops": estimate.job.flops,
        "weights": estimate.job.shape.num_params,
        "device_hours": estimate.device_hours,
    }
    return row | {"rough_flops": estimate.job.rough_flops, "rough_days": estimate.rough_days}


def implied_flops_per_second(job: TrainingJob, devices: int, stated_days: float) -> float:
    """FLOP/s that every device must reach for a run to take `stated_days`."""
    return job.flops / (devices * stated_days * 86_400)


# A stated time is let pass when it is so near to one that was worked out.
_NEAR = 0.1


def stated_days_line(estimate: Cost, stated_days: float) -> str:
    """Whether a stated time goes with the speed, and the speed that it implies."""
    required = implied_flops_per_second(estimate.job, estimate.devices, stated_days) / 1e12
    rough = required * estimate.job.rough_flops / estimate.job.flops
    speeds = f"{rough:,.0f} TFLOP/s a device by 6 N D, {required:,.0f} with attention"
    fits = any(
        abs(stated_days / estimated_days - 1) <= _NEAR for estimated_days in (estimate.days, estimate.rough_days)
    )
    verdict = (
        "which is what is estimated"
        if fits
        else f"which is not the {estimate.flops_per_second / 1e12:,.0f} it is said to be: those take "
        f"{estimate.rough_days:,.1f} days by 6 N D and {estimate.days:,.1f} with attention"
    )
    return f"stated    {stated_days:g} days would be {speeds}, {verdict}"
