"""Shares of sources found by small runs before a large one (3.1.2): by a method, or as the best of candidates."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from herd.core.artifacts import Mix, Scores, Tokens
from herd.core.errors import SettingsError
from herd.core.settings import MixtureWeights, PositiveFloat, PositiveInt, settings
from herd.mixing.choice import choose_mix
from herd.mixing.methods import ONLINE_METHODS, methods
from herd.mixing.problem import ProxySettings
from herd.mixing.stages import MixMethod, MixSettings, TrialSettings, find_mix, forecast_mixes, try_mix
from herd.model.sizes import SizeOrName

_FEWEST_RUNGS = 3


@settings
class CandidateRun:
    """A run of a candidate mix."""

    size: SizeOrName
    tokens: PositiveInt
    lr: PositiveFloat


@settings
class MixSearchSettings:
    """How shares of sources are found: either by a `method` that searches with small runs as `proxy` says, or as the
    best of `candidates`, mixes by name, each trained as `proxy` says but at the sizes of every one of `rungs` and with
    every seed, and forecast at the compute of the run to come. rungs: three budgets or more. seeds: two or more give
    the forecast an interval; a method searches with the first. max_epochs: what a source may be read at most."""

    proxy: ProxySettings
    method: MixMethod | None = None
    candidates: dict[str, MixtureWeights] = field(default_factory=dict)
    rungs: tuple[CandidateRun, ...] = ()
    seeds: tuple[int, ...] = (0, 1)
    max_epochs: PositiveFloat = 4.0
    mixing: MixSettings = MixSettings()

    def __post_init__(self) -> None:
        if (self.method is None) == (not self.candidates):
            raise SettingsError("mix_search: write a method, or candidates to choose from; one of both")
        if self.method is not None and self.method.name in ONLINE_METHODS:
            raise SettingsError(
                f"mix_search: {self.method.name} changes the shares while a run goes on and finds none before it; take "
                "doremi, doge or regmix"
            )
        if self.candidates and (len(self.rungs) < _FEWEST_RUNGS or len(self.candidates) < 2):
            raise SettingsError(
                f"mix_search: {len(self.candidates)} candidates at {len(self.rungs)} rungs forecast nothing; write two "
                f"or more candidates and {_FEWEST_RUNGS} or more rungs"
            )


def search_mix(tokens: Tokens, s: MixSearchSettings, *, target_flops: float) -> Mix:
    """The shares found, planned, for a run of `target_flops` to be given."""
    if s.method is not None:
        return find_mix(tokens, method=s.method, proxy=s.proxy, settings=s.mixing, seed=s.seeds[0])
    trial = TrialSettings(run=s.proxy, points=1, max_epochs=s.max_epochs)
    tried = try_candidates(tokens, s.candidates, s.rungs, trial=trial, mixing=s.mixing, seeds=s.seeds)
    scores = tuple(scores for _, scores in tried.scores)
    return choose_mix(forecast_mixes(scores, (), target_flops=target_flops), tried.mixes)


@dataclass(frozen=True)
class CandidateTrials:
    """Candidates, planned: their mixes, and what each run on one of them measured."""

    mixes: tuple[Mix, ...]
    scores: tuple[tuple[CandidateRun, Scores], ...]


def try_candidates(
    tokens: Tokens,
    candidates: Mapping[str, Mapping[str, float]],
    runs: Sequence[CandidateRun],
    *,
    trial: TrialSettings,
    mixing: MixSettings,
    seeds: Sequence[int],
    proxy: ProxySettings | None = None,
) -> CandidateTrials:
    """Every candidate trained at every one of `runs` with every seed, otherwise as `trial` says. proxy: what the mixes
    are said to be searched with, of which nothing is run; the trial's own when absent."""
    mixes: list[Mix] = []
    scores: list[tuple[CandidateRun, Scores]] = []
    for name, shares in candidates.items():
        method = methods.configure("fixed_weights", label=name, weights=dict(shares))
        mix = find_mix(tokens, method=method, proxy=proxy or trial.run, settings=mixing)
        mixes.append(mix)
        for seed in seeds:
            for run in runs:
                sized = replace(trial.run, size=run.size, tokens=run.tokens, lr=run.lr)
                measured = try_mix(tokens, mix, trial=replace(trial, run=sized, points=1), settings=mixing, seed=seed)
                scores.append((run, measured))
    return CandidateTrials(tuple(mixes), tuple(scores))


def forecast_candidates(trials: CandidateTrials, target: CandidateRun) -> Scores:
    """The candidates' losses at `target`, planned, as their other runs foretell them, beside what was measured."""
    small = tuple(scores for run, scores in trials.scores if run is not target)
    return forecast_mixes(small, tuple(scores for run, scores in trials.scores if run is target))
