"""What every method must beat."""

from __future__ import annotations

from herd.core.errors import DataError
from herd.core.settings import Share
from herd.mixing.methods import methods
from herd.mixing.problem import MixProblem, MixResult
from herd.mixing.problem import uniform_weights as equal
from herd.mixing.updates import normalize


@methods.add
def uniform(problem: MixProblem) -> MixResult:
    """Every row's source drawn by chance, all equally likely. Source: the control of Xie et al. 2023, section 3."""
    return MixResult(problem.named(equal(len(problem.sources))), sampled=True)


@methods.add
def stratified_uniform(problem: MixProblem) -> MixResult:
    """Equal shares, kept in every stretch of rows. Source: the control of Chen et al. 2024 (Aioli), section 3."""
    return MixResult(problem.named(equal(len(problem.sources))))


@methods.add
def proportional(problem: MixProblem) -> MixResult:
    """Shares as the sources hold tokens. Source: the baseline of Xie et al. 2023, section 3."""
    return MixResult(problem.named(problem.proportions))


@methods.add
def fixed_weights(problem: MixProblem, *, label: str, weights: dict[str, Share]) -> MixResult:
    """Shares that somebody wrote down, under a `label` for tables. Source: Llama 3, 3.1.2, which chose by hand."""
    if unknown := set(weights) - set(problem.sources):
        raise DataError(f"{label} names {', '.join(sorted(unknown))}; to be mixed are {', '.join(problem.sources)}")
    return MixResult(problem.named(normalize([weights.get(source, 0.0) for source in problem.sources])))
