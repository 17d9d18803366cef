"""Which way of mixing sources is best, and can the best mix be predicted from small runs?"""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated

from herd.core.artifacts import Mix, Report, Scores, Tokens
from herd.core.registry import PluginConfig
from herd.core.settings import PositiveFloat, PositiveInt, Share, settings
from herd.mixing.methods import methods
from herd.mixing.problem import ProxySettings
from herd.mixing.stages import MixSettings, TrialSettings, compare_mixes, find_mix, forecast_mixes, try_mix
from herd.model.sizes import SizeOrName
from herd.recipes.data import numbers_of, prepare_data
from herd.report.stages import write_report
from herd.report.verdicts import Criteria
from herd.studies import studies
from herd.world import NOTE

MethodChoice = Annotated[PluginConfig, methods.choice]


@settings
class CandidateRun:
    """A run of a candidate mix."""

    size: SizeOrName
    tokens: PositiveInt
    lr: PositiveFloat


@settings
class MixesSettings:
    """data: the recipe whose pages are used. proxies: what methods search with; the first one's mixes are tried, by
    seed. candidates: mixes, by name, whose losses at `target` are predicted from `rungs`, which have as many tokens a
    weight or more. control: a method's name."""

    title: str
    data: str
    mixing: MixSettings
    methods: tuple[MethodChoice, ...]
    proxies: tuple[ProxySettings, ...]
    trial: TrialSettings
    seeds: tuple[int, ...] = (0, 1, 2)
    control: str = "stratified_uniform"
    candidates: dict[str, dict[str, Share]]
    rungs: tuple[CandidateRun, ...]
    target: CandidateRun


@studies.add
def mixes(s: MixesSettings) -> Report:
    """Every method of mixing beside its controls, and a forecast of candidate mixes."""
    tokens = prepare_data(numbers_of(s.data)).tokens
    candidate_mixes: list[Mix] = []
    trials: list[Scores] = []
    for method in s.methods:
        for seed in s.seeds:
            searches = [
                find_mix(tokens, method=method, proxy=proxy, settings=s.mixing, seed=seed)
                for proxy in (s.proxies if method.name in _SEARCHING else s.proxies[:1])
            ]
            candidate_mixes += searches
            trials.append(try_mix(tokens, searches[0], trial=s.trial, settings=s.mixing, seed=seed))
    table = compare_mixes(tuple(candidate_mixes), tuple(trials), control=s.control)
    return write_report((), (table, forecast_candidates(tokens, s)), title=s.title, criteria=Criteria(), note=NOTE)


# Whose shares depend on the proxy.
_SEARCHING = ("doremi", "doge", "regmix")


def forecast_candidates(tokens: Tokens, s: MixesSettings) -> Scores:
    """Candidate mixes at the small sizes, and at the one they are predicted for."""
    small: list[Scores] = []
    large: list[Scores] = []
    for name, shares in s.candidates.items():
        method = methods.configure("fixed_weights", label=name, weights=shares)
        mix = find_mix(tokens, method=method, proxy=s.proxies[0], settings=s.mixing)
        for seed in s.seeds:
            for rung in (*s.rungs, s.target):
                run = replace(s.trial.run, size=rung.size, tokens=rung.tokens, lr=rung.lr)
                scores = try_mix(tokens, mix, trial=replace(s.trial, run=run, points=1), settings=s.mixing, seed=seed)
                (large if rung is s.target else small).append(scores)
    return forecast_mixes(tuple(small), tuple(large))
