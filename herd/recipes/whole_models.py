"""What stages take on a device that hold a whole model on every one, whatever the layout of their training.

Arithmetic on the plan, as of training: weights in the type that models are read in, the KV cache of the longest prompt
or the states of the longest rows, and beside them what training holds meanwhile.
"""

from __future__ import annotations

from dataclasses import dataclass

from herd.core.stage import Plan
from herd.generate.kv_cache import PREFILL_TOKENS, reading_bytes
from herd.model.sizes import Shape
from herd.train.cost import usable_bytes
from herd.train.memory import DtypeName

# What the stages hold it for.
WHOLE_MODEL = {
    "pretrain": "measuring held-out text",
    "extend_context": "the gate before and after it",
    "anneal": "averaging and measuring",
    "average_models": "averaging",
    "evaluate_model": "evaluation",
    "rejection_sample": "sampling",
    "select_best_model": "sampling",
}
_BYTES = {"fp32": 4, "bf16": 2}


@dataclass(frozen=True)
class WholeModel:
    """Bytes on a device while it holds a whole model. use: what for. weights: its own, in `dtype`. reading: of the KV
    cache and of states while texts of `length` tokens are read. training: what a training holds beside it."""

    use: str
    dtype: DtypeName
    weights: float
    length: int
    reading: float
    training: float = 0.0

    @property
    def total(self) -> float:
        return self.weights + self.reading + self.training

    def note(self, memory_bytes: float) -> str:
        """A sentence where that is more than a device of so many bytes holds; nothing where it fits."""
        if self.total <= usable_bytes(memory_bytes):
            return ""
        beside = f" and {self.training / 1e9:,.0f} GB of training beside" if self.training > 1e8 else ""
        return (
            f"{self.use} holds the whole model on a device, {self.weights / 1e9:,.0f} GB in {self.dtype} with "
            f"{self.reading / 1e9:,.0f} GB to read {self.length:,} tokens{beside}, more than fits into "
            f"{memory_bytes / 1e9:.0f} GB: herd does not divide that yet"
        )


def whole_model(plan: Plan, shape: Shape, dtype: DtypeName, *, training: float = 0.0) -> WholeModel | None:
    """What a stage takes where it is fullest; None for one that holds no whole model, or the one it trains. shape: of
    the model it makes or reads. dtype: that models are read in. training: bytes that its own training holds."""
    use = WHOLE_MODEL.get(plan.stage.name)
    averages = plan.stage.name == "average_models"
    if use is None or (averages and not plan.inputs.get("held_out")):  # averaged where files are read, on no device
        return None
    size, settings = _BYTES[dtype], plan.settings.get("settings", {})
    prompt, row = _longest(plan.stage.name, settings, shape.max_seq_len)
    caching = prompt * shape.cache_bytes(size) + reading_bytes(shape, min(prompt, PREFILL_TOKENS), size)
    reading = max(caching, reading_bytes(shape, row, size))
    if plan.stage.name == "anneal":  # members are put together in fp32, and measured as models are read
        reading = max(reading, (_BYTES["fp32"] - size) * shape.num_params)
    return WholeModel(use, dtype, size * shape.num_params, max(prompt, row), reading, training)


def _longest(stage: str, settings: dict[str, object], context: int) -> tuple[int, int]:
    """Tokens of the longest prompt that a stage answers, and of the longest row that it reads at once."""
    lengths = [settings.get("length"), settings.get("loss_length")]
    row = max([min(length, context) for length in lengths if isinstance(length, int)], default=0)
    if stage == "average_models":
        return 0, context
    if stage == "evaluate_model":
        needles = settings.get("needle_lengths")
        assert isinstance(needles, list | tuple)
        return max([length for length in needles if length <= context], default=min(context, PREFILL_TOKENS)), row
    if stage in ("rejection_sample", "select_best_model"):
        return min(context, PREFILL_TOKENS), 0
    return (row if stage == "extend_context" else 0), row
