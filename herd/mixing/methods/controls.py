"""What every method must beat."""

from __future__ import annotations

from herd.core.errors import DataError
from herd.core.settings import Share
from herd.mixing.field import Field, Found
from herd.mixing.field import uniform as equal
from herd.mixing.methods import methods
from herd.mixing.updates import shares_of


@methods.add
def uniform(given: Field) -> Found:
    """Every row's source drawn by chance, all equally likely. Source: the control of Xie et al. 2023, section 3."""
    return Found(given.named(equal(len(given.sources))), drawn=True)


@methods.add
def stratified(given: Field) -> Found:
    """Equal shares, kept in every stretch of rows. Source: the control of Chen et al. 2024 (Aioli), section 3."""
    return Found(given.named(equal(len(given.sources))))


@methods.add
def proportional(given: Field) -> Found:
    """Shares as the sources hold tokens. Source: the baseline of Xie et al. 2023, section 3."""
    return Found(given.named(given.proportions))


@methods.add
def given_shares(given: Field, *, label: str, shares: dict[str, Share]) -> Found:
    """Shares that somebody wrote down, under a `label` for tables. Source: Llama 3, 3.1.2, which chose by hand."""
    if unknown := set(shares) - set(given.sources):
        raise DataError(f"{label} names {', '.join(sorted(unknown))}; to be mixed are {', '.join(given.sources)}")
    return Found(given.named(shares_of([shares.get(source, 0.0) for source in given.sources])))
