"""What finding, trying and comparing mixes of data record."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from herd.core.results import fields_added, results
from herd.evals.intervals import Interval


@results.add(version=1)
@dataclass(frozen=True)
class MixSearch:
    """The mix that a method found. proxy_params: of the small models. spread: of each share, where the
    method knows it. sampled: rows are drawn by chance; online: the shares are only where the run starts. flops,
    seconds: of the search; baseline_seconds: of plain training on as many tokens. path: shares along the search."""

    method: str
    settings: Mapping[str, Any]
    seed: int
    proxy_params: int
    shares: Mapping[str, float]
    spread: Mapping[str, float]
    sampled: bool
    online: bool
    flops: float
    seconds: float
    baseline_seconds: float
    path: tuple[Mapping[str, float], ...]


@dataclass(frozen=True)
class LossPoint:
    """Held-out nats per token of every source after so many tokens."""

    tokens: int
    losses: Mapping[str, float]


@results.add(version=1)
@dataclass(frozen=True)
class MixTrial:
    """What a model learns of every source when it is trained on a mix. num_params: of the model. shares, epochs: as
    they were read. cut: a sentence for each share that was cut. late_share: the part of the run with a mix of its
    own."""

    method: str
    settings: Mapping[str, Any]
    seed: int
    num_params: int
    flops: float
    late_share: float
    shares: Mapping[str, float]
    epochs: Mapping[str, float]
    cut: tuple[str, ...]
    points: tuple[LossPoint, ...]
    seconds: float


@dataclass(frozen=True)
class MethodScore:
    """A method of mixing over its seeds. gain: nats below the control, paired by seed. tokens: to the control's last
    loss, as a share of the tokens it took, the median; None where most seeds never got there. epochs: of the source
    read most."""

    method: str
    seeds: int
    mean: float
    worst: float
    gain: Interval
    tokens: float | None
    got_there: int
    shares: Mapping[str, float]
    epochs: float
    by_source: Mapping[str, float]


@dataclass(frozen=True)
class SearchCost:
    """What the searches of a method came to. over_seeds, over_sizes: how far a source's share moves, the largest
    standard deviation. times_plain: what a step costs in steps of plain training."""

    method: str
    shares: Mapping[str, float]
    flops: float
    over_seeds: float | None
    over_sizes: float | None
    sizes: tuple[int, ...]
    times_plain: float | None


@results.add(version=1)
@dataclass(frozen=True)
class MixComparison:
    """Methods of mixing beside a control."""

    control: str
    rows: tuple[MethodScore, ...]
    searches: tuple[SearchCost, ...]


@dataclass(frozen=True)
class MixPrediction:
    """A mix's mean loss as predicted from small runs, with its 95 % interval, and as measured; None where it was not
    run at the size predicted."""

    label: str
    loss: float
    interval: tuple[float, float]
    measured: float | None


@results.add(version=2, upgrades={1: fields_added})
@dataclass(frozen=True)
class MixForecast:
    """Mixes as predicted from small runs. rank_correlation: with what was measured; None where nothing was. orders: of
    magnitude in FLOPs between the largest small run and these."""

    rank_correlation: float | None
    orders: float
    rows: tuple[MixPrediction, ...]


@results.add(version=1)
@dataclass(frozen=True)
class MixChoice:
    """The mix of which the least loss is predicted, by its label, and the predictions it was chosen from, least first.
    ties: those whose intervals reach below its own prediction, so that the choice among them may be chance."""

    label: str
    rows: tuple[MixPrediction, ...]
    ties: tuple[str, ...]


@results.add(version=1)
@dataclass(frozen=True)
class UpsamplingCurve:
    """Gains over the run without upsampling, in nats per token, of `domains` and of `others`: (part of the run at its
    end, gain, low, high)."""

    domains: tuple[str, ...]
    curves: Mapping[str, tuple[tuple[float, float, float, float], ...]]


@results.add(version=1)
@dataclass(frozen=True)
class CorpusScore:
    """What one model learnt from one corpus. losses: nats a token by source; answers: nats a character of right answers
    by task. tokens: the corpus has. repeated: a sentence for each source read more often than allowed."""

    label: str
    seed: int
    shares: Mapping[str, float]
    tokens: int
    trained_on: int
    repeated: tuple[str, ...]
    losses: Mapping[str, float]
    answers: Mapping[str, float]
    flops: float


@dataclass(frozen=True)
class CorpusRank:
    """A corpus over its seeds; gains over the control are paired by seed. best: in how many seeds it was the best.
    agreement: of its curation with labels, an AUROC."""

    label: str
    seeds: int
    tokens: int
    repeated: tuple[str, ...]
    answers: Interval
    losses: Interval
    gain: Interval
    gain_in_text: Interval
    best: int
    by_task: Mapping[str, float]
    by_source: Mapping[str, float]
    agreement: float | None = None


@results.add(version=1)
@dataclass(frozen=True)
class CorpusComparison:
    """Corpora, the one that teaches most first. rank_correlation: of what was learnt and agreement with labels;
    by_chance: the chance of one as far from zero."""

    control: str
    rows: tuple[CorpusRank, ...]
    rank_correlation: float
    by_chance: float


@results.add(version=1)
@dataclass(frozen=True)
class DataProbe:
    """What a new set of text adds to a checkpoint. gain, by_source: nats a token, above zero where it helps. epochs:
    how often the new set was read. losses: by arm, of each seed, by source."""

    label: str
    gain: Interval
    by_source: Mapping[str, float]
    epochs: float
    lr: float
    seeds: tuple[int, ...]
    losses: Mapping[str, tuple[Mapping[str, float], ...]]
