"""Which way of mixing sources is best, and can the best mix be predicted from small runs?"""

from __future__ import annotations

from typing import Annotated

from herd.core.artifacts import Mix, Report, Scores
from herd.core.registry import PluginConfig
from herd.core.settings import Share, settings
from herd.mixing.methods import methods
from herd.mixing.problem import ProxySettings
from herd.mixing.stages import MixSettings, TrialSettings, compare_mixes, find_mix, try_mix
from herd.recipes.data import numbers_of, prepare_data
from herd.recipes.mixing_search import CandidateRun, forecast_candidates, try_candidates
from herd.report.stages import write_report
from herd.report.verdicts import Criteria
from herd.studies import studies
from herd.world import NOTE

MethodChoice = Annotated[PluginConfig, methods.choice]


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
    tried = try_candidates(
        tokens,
        s.candidates,
        (*s.rungs, s.target),
        trial=s.trial,
        mixing=s.mixing,
        seeds=s.seeds,
        proxy=s.proxies[0],
    )
    return write_report(
        (), (table, forecast_candidates(tried, s.target)), title=s.title, criteria=Criteria(), note=NOTE
    )


# Whose shares depend on the proxy.
_SEARCHING = ("doremi", "doge", "regmix")
