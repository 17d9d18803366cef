"""How a model is spread over many devices, as arithmetic: who holds what, what waits, what fits, how often to save."""

from __future__ import annotations

import math
from dataclasses import dataclass

from herd.core.errors import SettingsError
from herd.core.settings import PositiveInt, settings
from herd.model.architecture import FEATURES
from herd.model.sizes import Shape

_LOGITS = {"cpu": 2**21, "cuda": 2**29}  # held at once when the loss is made
_LEAST_ROWS = 128

# Features that a dimension's ranks do not compute together: tensor ranks would have to share gains of queries and keys,
# and context ranks do not know how long their sequence is.
UNSUPPORTED_FEATURES: dict[str, frozenset[str]] = {
    "tensor": frozenset({"qkv_bias", "output_bias", "ffn_bias", "qk_norm_head", "qk_norm_width", "post_norm"}),
    "context": frozenset({"sliding_window", "rope_dynamic", "rope_longrope"}),
}


@settings
class ParallelLayout:
    """How many devices share each dimension, the innermost one first: tensor inside a server, then context, pipeline
    and data. chunks: how many pieces of the model a pipeline stage holds (interleaved when more than one).

    Source: Llama 3, 3.3.2: [TP, CP, PP, DP], ordered by how much bandwidth each wants.
    """

    tensor: PositiveInt = 1
    context: PositiveInt = 1
    pipeline: PositiveInt = 1
    data: PositiveInt = 1
    chunks: PositiveInt = 1

    @property
    def devices(self) -> int:
        return self.tensor * self.context * self.pipeline * self.data

    def rank(self, tensor: int, context: int, pipeline: int, data: int) -> int:
        """The rank of the device at these coordinates."""
        return tensor + self.tensor * (context + self.context * (pipeline + self.pipeline * data))

    def coordinates(self, rank: int) -> tuple[int, int, int, int]:
        """(tensor, context, pipeline, data) of a rank."""
        remaining, tensor = divmod(rank, self.tensor)
        remaining, context = divmod(remaining, self.context)
        data, pipeline = divmod(remaining, self.pipeline)
        return tensor, context, pipeline, data

    def check_devices(self, devices: int, *, rows: int, length: int, batch_tokens: int) -> None:
        """Raises SettingsError, with the number of data ranks that would be right, when the layout is for another
        number of devices, or its data ranks with `rows` sequences each do not make the batch."""
        model_ranks = self.tensor * self.context * self.pipeline
        if self.devices != devices:
            mend = (
                f"data has to be {devices // model_ranks}" if devices % model_ranks == 0 else "they do not share out so"
            )
            raise SettingsError(
                f"tensor {self.tensor} x context {self.context} x pipeline {self.pipeline} x data {self.data} is "
                f"{self.devices:,} devices and not {devices:,}; {mend}"
            )
        layout_tokens = self.data * rows * length
        if layout_tokens != batch_tokens:
            raise SettingsError(
                f"{self.data} data ranks of {rows} sequences of {length:,} tokens make a batch of {layout_tokens:,} "
                "tokens "
                f"and not {batch_tokens:,}; data has to be {batch_tokens / (rows * length):g}"
            )

    def check(self, shape: Shape, *, length: int) -> None:
        """Raises SettingsError with the number to change when the model or a sequence cannot be divided so."""
        for name, size, divisor in (
            ("n_kv_heads", shape.n_kv_heads, self.tensor),
            ("ffn_dim", shape.ffn_dim, self.tensor),
            ("sequence length", length, 2 * self.context),
        ):
            if size % divisor:
                near = max(n for n in range(1, divisor + 1) if size % n == 0)
                raise SettingsError(f"{name} {size:,} cannot be divided by {divisor}; the largest that fits is {near}")
        for dimension, lacks in UNSUPPORTED_FEATURES.items():
            unsupported = sorted(lacks & shape.features)
            if unsupported and getattr(self, dimension) > 1:
                raise SettingsError(
                    f"{FEATURES[unsupported[0]]} cannot be shared over {dimension} ranks; set layout.{dimension} to 1"
                )
        if self.pipeline * self.chunks > shape.n_layers + 2:
            raise SettingsError(
                f"{shape.n_layers} layers cannot fill {self.pipeline} stages of {self.chunks} chunks; "
                f"try chunks {max(1, (shape.n_layers + 2) // self.pipeline)}"
            )


def context_chunks(length: int, ranks: int, rank: int) -> tuple[range, range]:
    """The positions that a rank holds: of 2 x ranks chunks the one of its number, and its mirror from the end.

    With a causal mask early positions look at little and late ones at much; a pair of mirrored chunks costs every
    rank the same. Source: Llama 3, 3.3.2.
    """
    size = length // (2 * ranks)
    mirror = 2 * ranks - 1 - rank
    return range(rank * size, (rank + 1) * size), range(mirror * size, (mirror + 1) * size)


def stage_layers(layers: int, layout: ParallelLayout) -> list[list[range]]:
    """The layers of each stage's chunks; chunk c of stage s is the (c x pipeline + s)th piece of the model.

    The first piece also holds the embedding and the last one output and loss, so they get a layer less where that
    evens the rest out. Source: Llama 3, 3.3.2.
    """
    num_chunks = layout.pipeline * layout.chunks
    weights = layers + (2 if num_chunks > 2 else 0)  # embedding and output count as a layer each
    sizes = [weights // num_chunks + (index < weights % num_chunks) for index in range(num_chunks)]
    if num_chunks > 2:
        # Those with a layer more stand inside, where nothing else is held.
        sizes = sorted(sizes)
        sizes = [sizes[0] - 1, *sizes[2:], sizes[1] - 1]
    starts = [sum(sizes[:index]) for index in range(num_chunks)]
    layer_ranges = [range(start, start + size) for start, size in zip(starts, sizes, strict=True)]
    return [layer_ranges[stage :: layout.pipeline] for stage in range(layout.pipeline)]


def pipeline_bubble(layout: ParallelLayout, micro_batches: int) -> float:
    """Idle time of a pipeline stage for each second of work. Source: Llama 3, 3.3.2: (PP - 1) / (V x M)."""
    return (layout.pipeline - 1) / (layout.chunks * micro_batches)


def can_interleave(micro_batches: int, stages: int) -> bool:
    """Whether so many micro-batches go through interleaved stages: in rounds of equally many, each round as many as
    there are stages or more, or all at once where there are fewer (torch.distributed.pipelining)."""
    return micro_batches % max(1, micro_batches // stages) == 0


@dataclass(frozen=True)
class TrainableParams:
    """How many weights of a model learn. one_moment: how many of them have one moment, as Muon's do; AdamW's have
    two."""

    trained: int
    one_moment: int = 0

    @property
    def moments(self) -> int:
        return 2 * self.trained - self.one_moment


def logit_rows(vocabulary: int, device: str) -> int:
    """How many tokens' logits are held at once: on a CPU 8 MB of them, beside which a product's own set-up is nothing,
    and enough for a fast product by a vocabulary of 128k too; on a GPU, which is idle in small products, a GB in
    bf16."""
    return max(_LEAST_ROWS, _LOGITS["cpu" if device == "cpu" else "cuda"] // vocabulary)


def flops_utilization(tokens_per_second: float, flops_per_token: float, devices: int, peak: float) -> float:
    """MFU: FLOPs that the model needs, as a share of what the devices could do."""
    return tokens_per_second * flops_per_token / (devices * peak)


def checkpoint_interval(cost_seconds: float, between_failures_seconds: float) -> float:
    """Seconds between checkpoints that lose the least time. Source: Young 1974, eq. 9."""
    return math.sqrt(2 * cost_seconds * between_failures_seconds)
