"""What a run costs, in words and as plain data, and the loss to expect of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from herd.train.cost import FAILURES_PER_DEVICE_DAY, Cost, TrainingJob, step_traffic, wait_share, work_seconds
from herd.train.layout import ParallelLayout
from herd.train.machines import Machine


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
    yield f"speed     {estimate.speed_from}"
    yield f"money     {estimate.money:,.0f} dollars at {hardware.price_per_hour} a device hour"
    yield (
        f"layout    tensor {layout.tensor} x context {layout.context} x pipeline {layout.pipeline} x data "
        f"{layout.data}, {layout.chunks} chunks; the pipeline idles {estimate.idle:.1%} of its work; micro-batches of "
        f"{estimate.micro_batch:,} rows"
    )
    yield f"traffic   {_sent(job, layout, hardware)}"
    parts = ("weights", "gradients", "optimizer", "activations", "logits")
    listed = ", ".join(f"{name} {getattr(device_memory, name) / 1e9:.2f}" for name in parts)
    yield (
        f"memory    {device_memory.total / 1e9:.1f} GB of {hardware.memory_bytes / 1e9:.0f} a device, estimated "
        f"({listed})"
    )
    if not estimate.fits:
        yield "          more than there is: take recompute, a larger layout or shorter sequences"
    yield (
        f"failures  {estimate.failures:,.0f} to expect, one in "
        f"{86_400 / (FAILURES_PER_DEVICE_DAY * estimate.devices) / 3600:,.1f} h; saving every "
        f"{estimate.save_every_seconds / 60:,.1f} min leaves {estimate.useful:.1%} of the time for training"
    )
    low = 0.1 * job.peak_flops(hardware)
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
    of_a_run = bool(fitted.residuals)  # where the runs stand beside the law
    low, high = fitted.loss_interval(job.shape.num_params, job.tokens, predictive=of_a_run)
    return {
        "loss": fitted.law.loss(job.shape.num_params, job.tokens),
        "interval": [low, high],
        "floor": fitted.law.floor,
        "predictive": of_a_run,
    }


def loss_line(expected: Mapping[str, Any]) -> str:
    """An expected loss in words."""
    low, high = expected["interval"]
    kind = "what one run may be measured at" if expected["predictive"] else "the law's own noise"
    return (
        f"loss      {expected['loss']:.3f} nats a token [{low:.3f}, {high:.3f}] of the mix that the law was fitted on, "
        f"of which {expected['floor']:.3f} no size takes away; the interval is {kind}, and does not know whether the "
        "law holds so far beyond its runs"
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
