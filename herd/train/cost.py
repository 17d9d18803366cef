"""What a training run costs before anyone pays: FLOPs, days, memory, a layout and a micro-batch that fit, failures.

All of it is arithmetic: how busy a device gets is taken from table 4 of the Llama 3 report unless a speed is given, and
no device is asked.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from herd.core.errors import SettingsError
from herd.model.sizes import Shape
from herd.train.layout import (
    ParallelLayout,
    TrainableParams,
    can_interleave,
    checkpoint_interval,
    pipeline_bubble,
)
from herd.train.machines import Machine
from herd.train.memory import DeviceMemory, DtypeName, Recompute, training_memory

# The share of its peak that a device reaches while it is not idle: what 430 TFLOP/s of table 4's first row leave when
# its pipeline idles 5.9 % of its work. Rows two and three of the table are predicted with it. It is that of a very
# large model.
BUSY_UTILIZATION = 0.46
# What the report's smaller models reached in all, by the device hours on their cards (1.46M and 7.0M of H100s for 15.6T
# tokens): up to so many weights, by name.
CARD_UTILIZATION = ((2e10, "8B", 0.15), (1.5e11, "70B", 0.27))
# Unexpected interruptions a device and day: 419 in 54 days on 16,384 (Llama 3, 3.3.4, table 5).
FAILURES_PER_DEVICE_DAY = 419 / (54 * 16_384)
_RESTART_SECONDS, _SAVE_SECONDS = 300.0, 10.0
_BF16, _FP32 = 2, 4  # bytes
_FULL = 0.92  # of a device's memory; the rest goes to buffers and fragments


@dataclass(frozen=True)
class TrainingJob:
    """What is to be trained: `tokens` in batches of `batch_tokens`, in sequences of `length`. dtype, recompute,
    compiled, trainable: as `training_memory` takes them. all_flops: where these are others than all weights take
    forward and backward, as beside adapters."""

    shape: Shape
    tokens: float
    length: int
    batch_tokens: int
    dtype: DtypeName = "bf16"
    recompute: Recompute = False
    compiled: bool = True
    trainable: TrainableParams | None = None
    all_flops: float | None = None

    @property
    def flops(self) -> float:
        """All of them, with attention; 6 N D has neither attention nor the embedding's absence."""
        if self.all_flops is not None:
            return self.all_flops
        return self.tokens * self.shape.training_flops(self.length)

    @property
    def rough_flops(self) -> float:
        """By 6 N D."""
        return 6 * self.shape.num_params * self.tokens

    @property
    def steps(self) -> int:
        return max(1, round(self.tokens / self.batch_tokens))

    def peak_flops(self, hardware: Machine) -> float:
        """FLOP/s that a device could do in the job's type."""
        return hardware.peak_flops if self.dtype == "bf16" else hardware.fp32_flops

    def rows(self, layout: ParallelLayout) -> int:
        """Sequences of a data rank in a batch."""
        return max(1, self.batch_tokens // (self.length * layout.data))

    def micro_batches(self, layout: ParallelLayout, micro_batch: int = 1) -> int:
        """How many micro-batches of `micro_batch` sequences a data rank works on in a step."""
        return -(-self.rows(layout) // micro_batch)

    def memory(self, layout: ParallelLayout, micro_batch: int = 1) -> DeviceMemory:
        """Of the fullest device, with `micro_batch` sequences at once."""
        return training_memory(
            self.shape, layout, length=self.length, micro_batches=self.micro_batches(layout, micro_batch),
            rows=micro_batch, trainable=self.trainable, dtype=self.dtype, recompute=self.recompute,
            compiled=self.compiled,
        )  # fmt: skip


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
    return flops / (layout.devices * BUSY_UTILIZATION * job.peak_flops(hardware))


def wait_share(job: TrainingJob, layout: ParallelLayout, hardware: Machine) -> float:
    """Seconds that a device waits for others, for each second of its work.

    Keys and values are gathered before attention and their slopes scattered after it, neither hidden behind work
    (Llama 3, 3.3.2). Weights and gradients are, as far as there is work enough to hide them. What tensor ranks send is
    part of how busy a device gets.
    """
    sent_seconds, work = step_traffic(job, layout, hardware).seconds, work_seconds(job, layout, hardware)
    return (sent_seconds["context"] + max(0.0, sent_seconds["data"] - work)) / work


def utilization(job: TrainingJob, layout: ParallelLayout, hardware: Machine, *, micro_batch: int = 1) -> float:
    """The MFU to expect."""
    idle = pipeline_bubble(layout, job.micro_batches(layout, micro_batch))
    again = 4 / 3 if job.recompute is True else 1.0  # a second forward pass
    return BUSY_UTILIZATION / again / (1 + idle) / (1 + wait_share(job, layout, hardware))


def usable_bytes(memory_bytes: float) -> float:
    """What training may take of a device's memory; the rest goes to buffers and fragments."""
    return _FULL * memory_bytes


def fitting_micro_batch(job: TrainingJob, layout: ParallelLayout, memory_bytes: float) -> int | None:
    """Rows worked on at once: the most that fit into a device of `memory_bytes`, evened out over a step; with a
    pipeline, which idles the less the more micro-batches it has, one. None where one does not fit."""
    limit, rows = usable_bytes(memory_bytes), job.rows(layout)

    def fits(micro_batch: int) -> bool:
        return job.memory(layout, micro_batch).total <= limit

    if layout.pipeline > 1:
        return 1 if fits(1) else None
    if fits(rows):
        return rows  # nothing is added up, so this may fit where a part with its sums does not
    if rows == 1 or not fits(1):
        return None
    low, high = 1, rows  # the first fits, the second does not
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if fits(middle) else (low, middle)
    return -(-rows // -(-rows // low))


def best_layout(job: TrainingJob, devices: int, hardware: Machine) -> ParallelLayout:
    """Of all layouts that divide the model and fit into memory, the one with the highest MFU; of equal ones that with
    the fewest tensor, then context, then pipeline ranks.

    Raises SettingsError with what would fit when none does.
    """
    layouts = list(_layouts(job, devices, hardware))
    candidates = [
        (
            -round(utilization(job, layout, hardware), 4),
            layout.tensor,
            layout.context,
            layout.pipeline,
            -layout.chunks,
            layout,
        )
        for layout in layouts
        if job.memory(layout).total <= usable_bytes(hardware.memory_bytes)
    ]
    if candidates:
        return min(candidates, key=lambda candidate: candidate[:-1])[-1]
    least = min((job.memory(layout).total for layout in layouts), default=0.0)
    if not least:
        raise SettingsError(
            f"{devices:,} devices do not share out over this model and a batch of {job.batch_tokens:,} tokens; "
            "try a power of two, or a larger batch"
        )
    mend = "" if job.recompute else "set recompute, "
    raise SettingsError(
        f"{devices:,} devices of {hardware.memory_bytes / 1e9:.0f} GB cannot hold it: every layout wants "
        f"{least / 1e9:.0f} GB or more on one; {mend}take about "
        f"{_up(devices * least / usable_bytes(hardware.memory_bytes)):,} devices, shorter sequences, or larger ones"
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
                if data > rows or rows % data or pipeline > job.shape.n_layers + 2:
                    continue
                if pipeline > 1 and (job.shape.tied_output or rows // data < pipeline):
                    continue
                # As many chunks as there are layers: the shortest bubble.
                interleaved = pipeline > 1 and can_interleave(rows // data, pipeline)
                chunks = max(1, (job.shape.n_layers + 2) // pipeline) if interleaved else 1
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
    """What training takes. micro_batch: rows worked on at once. idle: of a pipeline, for each second of its work.
    fits: whether memory is within what a device has. speed_from: where its speed comes from, in words. failures: to
    expect in all. save_every_seconds: Young's. useful: the share of the time that is neither saved, restarted nor done
    again."""

    job: TrainingJob
    devices: int
    layout: ParallelLayout
    micro_batch: int
    memory: DeviceMemory
    fits: bool
    idle: float
    flops_per_second: float
    speed_from: str
    speed_is_estimated: bool
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
        return self.days * self.job.rough_flops / self.job.flops


def days(flops: float, *, devices: int, flops_per_second: float) -> float:
    """How long `devices` take at `flops_per_second` each. Source: Llama 3, 3.2.1 and table 4."""
    return flops / (devices * flops_per_second) / 86_400


@dataclass(frozen=True)
class Speed:
    """FLOP/s of a device, and where the number comes from, in words. estimated: whether nobody said or measured it."""

    flops_per_second: float
    origin: str
    estimated: bool = False


def estimated_speed(job: TrainingJob, layout: ParallelLayout, hardware: Machine, *, micro_batch: int = 1) -> Speed:
    """As large runs had it: nobody measured this one."""
    mfu = utilization(job, layout, hardware, micro_batch=micro_batch)
    origin = f"estimated: a device busy at {BUSY_UTILIZATION:.0%} of its peak, as in table 4 of Llama 3, less waiting"
    return Speed(mfu * job.peak_flops(hardware), origin, estimated=True)


def cost(
    job: TrainingJob,
    devices: int,
    hardware: Machine,
    *,
    layout: ParallelLayout | None = None,
    micro_batch: int | None = None,
    speed: Speed | None = None,
) -> Cost:
    """What training takes. layout: the best when absent. micro_batch: as many rows as fit when absent. speed: of a
    device; as estimated when absent.

    Days count work only, as the report's do; `useful` says by how much failures stretch them. Raises SettingsError for
    a layout of another number of devices.
    """
    if layout is not None:
        layout.check_devices(devices, rows=job.rows(layout), length=job.length, batch_tokens=job.batch_tokens)
    layout = layout or best_layout(job, devices, hardware)
    micro_batch = micro_batch or fitting_micro_batch(job, layout, hardware.memory_bytes) or 1
    memory = job.memory(layout, micro_batch)
    speed = speed or estimated_speed(job, layout, hardware, micro_batch=micro_batch)
    training_days = days(job.flops, devices=devices, flops_per_second=speed.flops_per_second)
    seconds_between_failures = 86_400 / (FAILURES_PER_DEVICE_DAY * devices)
    save_every = checkpoint_interval(_SAVE_SECONDS, seconds_between_failures)
    # Time lost a second: saving, and for each failure a restart and half an interval done again.
    lost = _SAVE_SECONDS / save_every + (_RESTART_SECONDS + save_every / 2) / seconds_between_failures
    return Cost(
        job=job,
        devices=devices,
        layout=layout,
        micro_batch=micro_batch,
        memory=memory,
        fits=memory.total <= hardware.memory_bytes,
        idle=pipeline_bubble(layout, job.micro_batches(layout, micro_batch)),
        flops_per_second=speed.flops_per_second,
        speed_from=speed.origin,
        speed_is_estimated=speed.estimated,
        utilization=speed.flops_per_second / job.peak_flops(hardware),
        days=training_days,
        money=training_days * 24 * devices * hardware.price_per_hour,
        failures=FAILURES_PER_DEVICE_DAY * devices * training_days,
        save_every_seconds=save_every,
        useful=1 / (1 + lost),
    )
