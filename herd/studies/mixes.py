"""Which way of mixing sources is best, and can the best mix be foretold from small runs?"""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated

from herd.core.artifacts import Mix, Report, Scores, Tokens
from herd.core.recipe import load_recipe
from herd.core.registry import Use
from herd.core.settings import Positive, Rate, Share, settings
from herd.mixing.field import RunSettings
from herd.mixing.methods import methods
from herd.mixing.stages import MixSettings, TrySettings, compare_mixes, find_mix, forecast_mixes, try_mix
from herd.model.sizes import SizeOrName
from herd.recipes import recipes
from herd.recipes.data import prepared
from herd.report.stages import write_report
from herd.report.verdicts import Bars
from herd.studies import studies

Way = Annotated[Use, methods.choice]


@settings
class Rung:
    """A run of a candidate mix."""

    size: SizeOrName
    tokens: Positive
    lr: Rate


@settings
class MixesSettings:
    """data: the recipe whose pages are used. proxies: what methods search with; the first one's mixes are tried, by
    seed. candidates: mixes, by name, whose losses at `target` are foretold from `rungs`, which have as many tokens a
    weight or more. control: a method's name."""

    title: str
    data: str
    mixing: MixSettings
    methods: tuple[Way, ...]
    proxies: tuple[RunSettings, ...]
    trial: TrySettings
    seeds: tuple[int, ...] = (0, 1, 2)
    control: str = "stratified"
    candidates: dict[str, dict[str, Share]]
    rungs: tuple[Rung, ...]
    target: Rung


@studies.add
def mixes(s: MixesSettings) -> Report:
    """Every method of mixing beside its controls, and a forecast of candidate mixes."""
    tokens = prepared(load_recipe(s.data, recipes).settings).tokens
    found: list[Mix] = []
    trials: list[Scores] = []
    for method in s.methods:
        for seed in s.seeds:
            searched = [
                find_mix(tokens, method=method, proxy=proxy, settings=s.mixing, seed=seed)
                for proxy in (s.proxies if method.name in _SEARCHING else s.proxies[:1])
            ]
            found += searched
            trials.append(try_mix(tokens, searched[0], trial=s.trial, settings=s.mixing, seed=seed))
    table = compare_mixes(tuple(found), tuple(trials), control=s.control)
    return write_report((), (table, foretold(tokens, s)), title=s.title, bars=Bars())


# Whose shares depend on the proxy.
_SEARCHING = ("doremi", "doge", "regmix")


def foretold(tokens: Tokens, s: MixesSettings) -> Scores:
    """Candidate mixes at the small sizes, and at the one they are foretold for."""
    small: list[Scores] = []
    large: list[Scores] = []
    for name, shares in s.candidates.items():
        method = methods.use("given_shares", label=name, shares=shares)
        mix = find_mix(tokens, method=method, proxy=s.proxies[0], settings=s.mixing)
        for seed in s.seeds:
            for rung in (*s.rungs, s.target):
                run = replace(s.trial.run, size=rung.size, tokens=rung.tokens, lr=rung.lr)
                tried = try_mix(tokens, mix, trial=replace(s.trial, run=run, points=1), settings=s.mixing, seed=seed)
                (large if rung is s.target else small).append(tried)
    return forecast_mixes(tuple(small), tuple(large))
