"""A bandit that changes the mix while the one run goes on."""

from __future__ import annotations

from herd.mixing.methods import methods
from herd.mixing.problem import MixProblem, MixResult, uniform_weights


@methods.add
def bandit(problem: MixProblem) -> MixResult:
    """No search: the run itself gives more rows to the sources whose loss is higher (`online.Exp3`).

    Source: Albalak et al. 2023 (Efficient Online Data Mixing), algorithm 1. Differs: shares are drawn for every row.
    """
    return MixResult(problem.named(uniform_weights(len(problem.sources))), online=True)
