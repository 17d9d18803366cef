"""How much of which source a run of pre-training reads: as its phases say, in proportion to the text there is, or as a
search found."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from herd.core.artifacts import Mix
from herd.core.errors import ArtifactError, DataError, SettingsError
from herd.core.settings import PositiveFloat, Share, settings
from herd.core.stage import Work
from herd.model.collectives import RankGroup
from herd.tokens.shards import TokenShards
from herd.train.mixture import cap_weights
from herd.train.schedule import MixPhase


@settings
class ProportionalMix:
    """Every source as often as any other, so in proportion to the tokens it has; with a found mix, in its shares.

    max_epochs: what a source is read at most, where others can fill its place (Muennighoff et al. 2023: to about four
    readings repeated text is worth nearly as much as new text). replay_sources: text of what a model has learnt before,
    of which a share `replay_share` of all tokens is read again so that less of it is forgotten; none where that is 0,
    and its loss is measured all the same. Source: Ibrahim et al. 2024 (5 % for a weak shift, more for a strong one).
    """

    max_epochs: PositiveFloat = 4.0
    replay_share: Share = 0.0
    replay_sources: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.replay_share >= 1:
            raise SettingsError(f"replay_share is {self.replay_share:g}, which leaves nothing new to learn; try 0.05")
        if self.replay_share and not self.replay_sources:
            raise SettingsError("replay_share wants to know of what; name replay_sources, or set it to 0")


@dataclass(frozen=True)
class ResolvedMix:
    """A mix where it is known what text there is. tokens: that are trained on. warnings: a sentence for each source
    that is read too often, or less than was asked for."""

    phases: tuple[MixPhase, ...]
    tokens: int
    warnings: tuple[str, ...] = ()


def train_tokens(shards: TokenShards) -> dict[str, int]:
    """Of every source the tokens that may be learnt from."""
    return {name: shards.index["sources"][name]["train"]["tokens"] for name in shards.sources}


def proportions(available: Mapping[str, int]) -> dict[str, float]:
    """Each source's part of all tokens. Raises DataError when there are none."""
    total = sum(available.values())
    if not total:
        raise DataError("no source has text to train on: all of it is held out; add text")
    return {name: count / total for name, count in available.items()}


def resolve_mix(
    available: Mapping[str, int],
    mix: Sequence[MixPhase] | ProportionalMix,
    *,
    tokens: int | None = None,
    epochs: float | None = None,
    found: Mapping[str, float] | None = None,
) -> ResolvedMix:
    """The shares of a run by phases.

    available: tokens by source. tokens: how many are trained on; where they are absent, `epochs` readings of what the
    mix reads, what is replayed apart. found: shares of a search. Raises DataError for sources that are not there, and
    SettingsError where a search and phases both say the shares.
    """
    if not isinstance(mix, ProportionalMix):
        if found is not None:
            raise SettingsError("both a found mix and `mix` say the shares; write mix: {max_epochs: 4.0}, or leave one")
        read = {name: available.get(name, 0) for phase in mix for name in phase.sources}
        return ResolvedMix(tuple(mix), _tokens(tokens, epochs, sum(read.values())))
    _check_sources({*mix.replay_sources, *(found or {})}, available)
    own = {name: count for name, count in available.items() if name not in mix.replay_sources and count}
    share = mix.replay_share
    replayed = {name: available[name] for name in mix.replay_sources} if share else {}
    weights = proportions(own) if found is None else _only(found, own)
    total = _tokens(tokens, epochs, sum(own[name] for name in weights) / (1 - share))
    weights, warnings = _within_epochs(weights, own, total * (1 - share), mix.max_epochs)
    phase = {name: weight * (1 - share) for name, weight in weights.items()}
    if share:
        phase |= {name: weight * share for name, weight in proportions(replayed).items()}
        warnings += _repeated("what is replayed", sum(replayed.values()), total * share, mix.max_epochs)
    return ResolvedMix((MixPhase(until=1.0, mixture_weights=phase),), total, tuple(warnings))


def tokens_of_phases(phases: Sequence[MixPhase], tokens: float) -> dict[str, float]:
    """Of every source the tokens that a run of so many takes of it in all its phases."""
    of_source, start = dict[str, float](), 0.0
    for phase in phases:
        share, total = phase.until - start, sum(phase.mixture_weights.values())
        for name, weight in phase.mixture_weights.items():
            of_source[name] = of_source.get(name, 0.0) + share * weight / total * tokens
        start = phase.until
    return of_source


def later_shares(
    work: Work,
    shards: TokenShards,
    weights: Mapping[str, float] | None,
    mix: ProportionalMix | None,
    *,
    tokens: int,
) -> dict[str, float]:
    """The shares of a stage after the first: `weights`, else as `mix` says where so many tokens are trained on, else in
    proportion to the text. Of what is read too often a warning is shown."""
    if weights:
        return dict(weights)
    if mix is None:
        return proportions(train_tokens(shards))
    run = resolve_mix(train_tokens(shards), mix, tokens=tokens)
    for sentence in run.warnings if RankGroup.joined().first else ():
        work.warn(sentence)
    return dict(run.phases[-1].mixture_weights)


def check_one_mix(weights: Mapping[str, float] | None, mix: ProportionalMix | None) -> None:
    """Raises SettingsError where both say the shares."""
    if weights and mix is not None:
        raise SettingsError("mixture_weights and mix both say the shares; take one of them away")


def mix_shares(mix: Mix) -> dict[str, float]:
    """The shares that a search found. Raises SettingsError for those of a method that goes on to change them."""
    file = mix.path / "mix.json"
    try:
        row = json.loads(file.read_text(encoding="utf-8"))
        shares = {str(name): float(share) for name, share in row["shares"].items()}
        online, method = bool(row["online"]), row["method"]
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as fault:
        raise ArtifactError(
            f"{file} holds no mix ({fault}); delete {mix.path} and run the same command again"
        ) from None
    if online:
        raise SettingsError(
            f"the shares of {method} are only where a run starts, which then changes them; take doremi, doge or regmix"
        )
    return shares


def _tokens(tokens: int | None, epochs: float | None, of: float) -> int:
    if tokens is None:
        assert epochs is not None  # which the settings of a run see to
        return max(1, round(epochs * of))
    return tokens


def _check_sources(names: set[str], available: Mapping[str, int]) -> None:
    if unknown := names - set(available):
        raise DataError(
            f"the mix names {', '.join(sorted(unknown))}; the tokens hold {', '.join(available)}: mend the mix"
        )


def _only(found: Mapping[str, float], own: Mapping[str, int]) -> dict[str, float]:
    """The shares found of sources that are not replayed."""
    shares = {name: share for name, share in found.items() if name in own and share > 0}
    total = sum(shares.values())
    if not total:
        raise DataError("the found mix gives no share to any source with text; find it on the same tokens")
    return {name: share / total for name, share in shares.items()}


def _within_epochs(
    weights: dict[str, float], available: Mapping[str, int], tokens: float, max_epochs: float
) -> tuple[dict[str, float], list[str]]:
    """The weights, cut so that no source is read more often; as they are where all of them together are too few."""
    caps = {name: max_epochs * available[name] / tokens for name in weights}
    over = [name for name, weight in weights.items() if weight > caps[name] * (1 + 1e-9)]
    if not over:
        return weights, []
    if sum(caps.values()) < 1:
        return weights, _repeated("the text", sum(available[name] for name in weights), tokens, max_epochs)
    names = list(weights)
    capped = cap_weights(np.array([weights[name] for name in names]), np.array([caps[name] for name in names]))
    return dict(zip(names, capped.tolist(), strict=True)), [
        f"{name} holds {available[name]:,} tokens and would be read {weights[name] * tokens / available[name]:.1f} "
        f"times; its share is cut from {weights[name]:.3f} to {caps[name]:.3f}, {max_epochs:g} readings"
        for name in over
    ]


def _repeated(what: str, available: int, tokens: float, max_epochs: float) -> list[str]:
    times = tokens / max(1, available)
    if times <= max_epochs * (1 + 1e-9):
        return []
    return [
        f"{what} holds {available:,} tokens and is read {times:.1f} times to train on {tokens:,.0f}; above "
        f"{max_epochs:g} times little is learnt: add text, or train on fewer tokens"
    ]
