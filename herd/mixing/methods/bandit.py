"""A bandit that changes the mix while the one run goes on."""

from __future__ import annotations

from herd.mixing.field import Field, Found, uniform
from herd.mixing.methods import methods


@methods.add
def bandit(given: Field) -> Found:
    """No search: the run itself gives more rows to the sources whose loss is higher (`online.Exp3`).

    Source: Albalak et al. 2023 (Efficient Online Data Mixing), algorithm 1. Differs: shares are drawn for every row.
    """
    return Found(given.named(uniform(len(given.sources))), online=True)
