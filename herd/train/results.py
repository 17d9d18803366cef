"""What training records."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from herd.core.results import fields_added, results


@dataclass(frozen=True)
class SourceUse:
    """What was trained on of one source. share: of all tokens. epochs: how often it was read in full."""

    rows: int
    tokens: int
    share: float
    epochs: float


@dataclass(frozen=True)
class HeldOutLoss:
    """The loss on a source's held-out text, and on how many tokens it was measured. Only bits per byte may be compared
    between tokenizers. low, high: the 95 % interval of the nats a token over rows; None where there is one row, or
    where it was measured by a herd that knew none. row_nats, row_tokens: the sums of every row, or of so many
    neighbouring ones that there are at most 64, by which two models are compared on the same text."""

    nats_per_token: float
    bits_per_byte: float
    tokens: int
    low: float | None = None
    high: float | None = None
    row_nats: tuple[float, ...] = ()
    row_tokens: tuple[int, ...] = ()


@results.add(version=2, upgrades={1: fields_added})
@dataclass(frozen=True)
class TrainingResult:
    """A model that was trained on text. tokens: trained on; flops: for them. loss: nats a token: of pre-training on
    held-out text, in the shares of the mix; of fine-tuning, and where nothing is held out, the mean of the last ten
    steps. length: tokens in a row.
    sources, held_out: by source, where training counts them; of fine-tuning the sources of what is replayed."""

    num_params: int
    tokens: int
    flops: float
    loss: float
    length: int
    sources: Mapping[str, SourceUse] = field(default_factory=dict)
    held_out: Mapping[str, HeldOutLoss] = field(default_factory=dict)


@results.add(version=1)
@dataclass(frozen=True)
class TrainingIncidents:
    """What went wrong while training went on; recorded only where something did. loss_jumps: numbers of steps whose
    loss lay far above those before. damaged_weights: sentences about weights that changed by themselves."""

    loss_jumps: tuple[int, ...] = ()
    damaged_weights: tuple[str, ...] = ()


@results.add(version=1)
@dataclass(frozen=True)
class CheckpointAverage:
    """The mean of the last checkpoints of one run. losses: of each of these alone, nats a token; none where
    nothing is held out."""

    losses: tuple[float, ...]
