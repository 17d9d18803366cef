"""What a run of pre-training would take on every device, and what a run that is made took."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Sequence
from pathlib import Path

from herd.core.artifacts import is_whole, read_card
from herd.core.settings import build
from herd.core.stage import Plan
from herd.pretrain.initial import PretrainSettings
from herd.tokens.tokenizer import CONTROL_TOKENS
from herd.train.layout import Layout, bubble, memory
from herd.train.log import METRICS, read_steps
from herd.train.schedule import BatchRamp


def layout_lines(plans: Sequence[Plan], artifacts: Path) -> Iterator[str]:
    """For every pre-training among `plans`: layout, memory of a device by part, and beside it what was measured."""
    pairs = [plan.settings["pairs"] for plan in plans if plan.stage.name == "train_tokenizer"]
    for plan in plans:
        if plan.stage.name != "pretrain" or not pairs:
            continue
        settings = build(PretrainSettings, plan.settings["settings"], where=plan.key)
        vocabulary = pairs[0] + len(CONTROL_TOKENS)
        yield f"{plan.key}: {_planned(settings, vocabulary)}{_measured(artifacts / plan.key)}"


def _planned(settings: PretrainSettings, vocabulary: int) -> str:
    layout, length = settings.layout, settings.length
    shape = settings.size.shape(vocabulary=vocabulary, context=length)
    layout.check(shape, length=length)
    ramp = BatchRamp(settings.batch, settings.tokens, length)
    rows = max(1, len(ramp.rows_of(ramp.steps - 1)) // layout.data)
    at_once = settings.speed.micro_rows or (1 if layout.pipeline > 1 else rows)
    micro_batches = -(-rows // at_once)
    held = memory(shape, layout, length=length, micro_batches=micro_batches, rows=at_once)
    parts = {
        "weights": held.weights,
        "gradients": held.gradients,
        "optimizer": held.optimizer,
        "activations": held.activations,
        "logits": held.logits,
    }
    listed = ", ".join(f"{name} {_bytes(value)}" for name, value in parts.items())
    idle = f", pipeline idle {bubble(layout, micro_batches):.0%} of its work" if layout.pipeline > 1 else ""
    return f"{_words(layout)}; in bf16 {_bytes(held.total)} a device ({listed}){idle}"


def _words(layout: Layout) -> str:
    names = ("tensor", "context", "pipeline", "data")
    divided = [f"{name} {getattr(layout, name)}" for name in names if getattr(layout, name) > 1]
    return f"{layout.devices} device{'s' * (layout.devices > 1)}" + (f" ({' x '.join(divided)})" if divided else "")


def _measured(folder: Path) -> str:
    if not is_whole(folder):
        return ""
    steps = read_steps(folder / METRICS)
    seconds = statistics.median(step.seconds for step in steps)
    rate = statistics.median(step.weight / step.seconds for step in steps)
    peak = read_card(folder)["cost"]["peak_bytes"]
    skipped = sum(bool(step.skipped) for step in steps)
    told = f", {skipped} steps skipped" if skipped else ""
    return f"; measured: {seconds:.3f} s a step, {rate:,.0f} tokens/s, process at most {_bytes(peak)}{told}"


def _bytes(value: float) -> str:
    for unit, size in (("GB", 1e9), ("MB", 1e6)):
        if value >= size:
            return f"{value / size:,.1f} {unit}"
    return f"{value / 1e3:,.0f} kB"
