"""How much of a run's end should be given to the domains one cares for?"""

from __future__ import annotations

import itertools
from dataclasses import replace

from herd.core.artifacts import Report
from herd.core.settings import MixtureWeights, Share, settings
from herd.mixing.methods import methods
from herd.mixing.problem import ProxySettings
from herd.mixing.stages import MixSettings, TrialSettings, find_mix, try_mix, upsampling_curve
from herd.recipes.data import numbers_of, prepare_data
from herd.report.stages import write_report
from herd.report.verdicts import Criteria
from herd.studies import studies
from herd.world import NOTE


@settings
class UpsamplingSettings:
    """data: the recipe whose pages are used. default: the mix until the end's part. late: the mix of that part. ends:
    the parts tried, as shares of all tokens; the same number of tokens in all. domains: the sources one cares for."""

    title: str
    data: str
    mixing: MixSettings
    run: ProxySettings
    default: MixtureWeights
    late: MixtureWeights
    domains: tuple[str, ...]
    ends: tuple[Share, ...] = (0.0, 0.05, 0.1, 0.2, 0.3)
    max_epochs: float = 4.0
    seeds: tuple[int, ...] = (0, 1, 2)


@studies.add
def upsampling(s: UpsamplingSettings) -> Report:
    """Domain upsampling at the end of training, as a curve over its length (Blakeney et al. 2024)."""
    tokens = prepare_data(numbers_of(s.data)).tokens
    method = methods.configure("fixed_weights", label="default", weights=s.default)
    mix = find_mix(tokens, method=method, proxy=s.run, settings=s.mixing)
    trial = TrialSettings(run=s.run, points=1, max_epochs=s.max_epochs, late_weights=s.late)
    runs = tuple(
        try_mix(tokens, mix, trial=replace(trial, late_share=end), settings=s.mixing, seed=seed)
        for end, seed in itertools.product(s.ends, s.seeds)
    )
    curve = upsampling_curve(runs, domains=s.domains)
    return write_report((), (curve,), title=s.title, criteria=Criteria(), note=NOTE)
