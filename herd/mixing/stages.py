"""Finding a mix, trying it, and telling which was best."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict
from typing import Annotated, Any

import numpy as np

from herd.core.artifacts import Mix, Scores, Tokens
from herd.core.errors import DataError
from herd.core.registry import Use
from herd.core.settings import Positive, Rate, Share, settings
from herd.core.stage import Work, stage
from herd.mixing.comparing import Trial, compared, foretell, rank_agreement, search_costs, upsampled
from herd.mixing.field import Field, Found, RunSettings, capped
from herd.mixing.methods import methods
from herd.mixing.online import Exp3
from herd.mixing.proxies import ChosenBatches, by_chance, evenly, train_on
from herd.mixing.results import LossPoint, MixComparison, MixForecast, MixSearch, MixTrial, UpsamplingCurve
from herd.mixing.updates import shares_of
from herd.tokens.shards import Shards

Way = Annotated[Use, methods.choice]


@settings
class MixSettings:
    """sources: to be mixed; all when none is named. judged_tokens: of each source's held-out text, for a loss."""

    sources: tuple[str, ...] = ()
    judged_tokens: Positive = 4096


@stage(paper="3.1.2", version=2, gpu=True)
def find_mix(
    work: Work, tokens: Tokens, *, method: Way, proxy: RunSettings, settings: MixSettings, seed: int = 0
) -> Mix:
    """The shares that a method finds with small runs."""
    given = _field(work, tokens, proxy, settings, seed)
    found: Found = methods.make(method)(given)
    result = MixSearch(
        method=method.name,
        settings=dict(method.settings),
        seed=seed,
        proxy_weights=given.shape(proxy).weights,
        shares=dict(found.shares),
        spread=dict(found.spread),
        drawn=found.drawn,
        online=found.online,
        flops=found.flops,
        seconds=found.seconds,
        plain_seconds=found.plain_seconds,
        path=tuple(dict(shares) for shares in found.path),
    )
    _keep(work, result, "mix.json")
    most = sorted(found.shares.items(), key=lambda pair: -pair[1])[:3]
    work.headline = f"{method.name}: " + ", ".join(f"{name} {share:.0%}" for name, share in most)
    return Mix(work.out)


@settings
class TrySettings:
    """A run on a mix. points: how often the losses are taken on the way. most_epochs: what a source may be read at
    most, in both parts together; its share is cut to that. late: shares of the last part `late_share` of the run, in
    the place of the mix's."""

    run: RunSettings
    points: Positive = 8
    most_epochs: Rate = 4.0
    late_share: Share = 0.0
    late: Mapping[str, Share] | None = None


@stage(paper="3.1.2", version=4, gpu=True)
def try_mix(
    work: Work, tokens: Tokens, mix: Mix, *, trial: TrySettings, settings: MixSettings, seed: int = 0
) -> Scores:
    """What a model learns of every source when it is trained on a mix."""
    given = _field(work, tokens, trial.run, settings, seed)
    found = mix.result(MixSearch)
    shares, late, said = _within_epochs(given, found.shares, trial)
    watching: dict[str, Any] = {}
    if found.online:
        bandit = Exp3(given)
        batches: Any = ChosenBatches(given, trial.run, bandit.choose)
        watching = {"watch": bandit.learn}
    elif found.drawn:
        batches = ChosenBatches(given, trial.run, by_chance(given, np.array([shares[n] for n in given.sources])))
    else:
        batches = evenly(given, trial.run, shares, late=(trial.late_share, late))
    _, curve = train_on(given, trial.run, batches, points=trial.points, **watching)
    read = sum(curve.read.values())
    result = MixTrial(
        method=found.method,
        settings=found.settings,
        seed=seed,
        weights=given.shape(trial.run).weights,
        flops=given.flops(curve.rows * trial.run.length, trial.run),
        late_share=trial.late_share,
        shares={name: count / read for name, count in curve.read.items()},
        epochs={name: _epochs(given, name, count) for name, count in curve.read.items()},
        cut=tuple(said),
        points=tuple(LossPoint(point.tokens, dict(point.losses)) for point in curve.points),
        seconds=curve.seconds,
    )
    _keep(work, result, "scores.json")
    last = curve.last
    work.headline = f"{found.method}: mean loss {last.mean:.3f}, worst source {last.worst:.3f}"
    return Scores(work.out)


@stage(paper="3.1.2", version=1)
def compare_mixes(
    work: Work, mixes: tuple[Mix, ...], trials: tuple[Scores, ...], *, control: str = "stratified"
) -> Scores:
    """Every method against `control`, seed by seed, and what its search cost."""
    rows = compared([Trial.of(one.result(MixTrial)) for one in trials], control=control)
    searches = search_costs([one.result(MixSearch) for one in mixes])
    _keep(work, MixComparison(control, tuple(rows), tuple(searches)), "scores.json")
    best = min(rows, key=lambda row: row.mean)
    verdict = "beats it" if best.gain.low > 0 else "no more than chance may have given it"
    work.headline = f"least mean loss by {best.method}: {best.gain.value:+.4f} nats below {control}, {verdict}"
    return Scores(work.out)


@stage(paper="3.1.2", version=3)
def forecast_mixes(work: Work, small: tuple[Scores, ...], large: tuple[Scores, ...]) -> Scores:
    """Every mix of `large` as foretold from its runs in `small`, and whether the order came out as foretold."""
    trials, targets = ([Trial.of(one.result(MixTrial)) for one in some] for some in (small, large))
    found = foretell(trials, targets)
    agreement = rank_agreement(found)
    orders = math.log10(targets[0].flops / max(trial.flops for trial in trials))
    _keep(work, MixForecast(agreement, orders, tuple(found)), "scores.json")
    work.headline = f"{len(found)} mixes foretold, rank correlation {agreement:.2f} with what was measured"
    return Scores(work.out)


@stage(paper="3.1.3", version=1)
def upsampling_curve(work: Work, trials: tuple[Scores, ...], *, domains: tuple[str, ...]) -> Scores:
    """By how much the loss on the `domains`, and on all other sources, falls with the part of the end given to them.

    Against the runs without such a part, paired by seed; nats a token with Student's 95 % intervals.
    """
    curves = upsampled([one.result(MixTrial) for one in trials], domains)
    best = max(curves["domains"], key=lambda point: point[1])
    points = {name: tuple(some) for name, some in curves.items()}
    _keep(work, UpsamplingCurve(domains, points), "scores.json")
    work.headline = f"domains gain most, {best[1]:+.3f} nats [{best[2]:+.3f}, {best[3]:+.3f}], at {best[0]:.0%}"
    return Scores(work.out)


def _keep(work: Work, result: Any, file: str) -> None:
    """Records a result, and writes it as the artifact's file."""
    (work.out / file).write_text(json.dumps(asdict(result), indent=1), encoding="utf-8")
    work.record(result)


def _field(work: Work, tokens: Tokens, run: RunSettings, settings: MixSettings, seed: int) -> Field:
    shards = Shards(tokens.path)
    sources = settings.sources or tuple(shards.sources)
    say = lambda done: work.progress(done, 1.0)  # noqa: E731
    return Field(shards, sources, run, seed, work.place, work.device, settings.judged_tokens, say)


def _epochs(given: Field, name: str, tokens: int) -> float:
    return round(tokens / max(1, given.shards.index["sources"][name]["train"]["tokens"]), 2)


def _within_epochs(
    given: Field, shares: Mapping[str, float], trial: TrySettings
) -> tuple[dict[str, float], dict[str, float] | None, list[str]]:
    """The mix, and that of the run's last part, cut so that no source is read too often; a sentence for each that was.

    The last part may read what the rest has left.
    """
    total = trial.run.steps * trial.run.batch_tokens
    last = total * trial.late_share if trial.late else 0.0
    there = np.array([given.shards.index["sources"][name]["train"]["tokens"] for name in given.sources], float)
    room = trial.most_epochs * there
    kept, said = _cut(given, shares, total - last, room, trial.most_epochs)
    if not trial.late or not last:
        return kept, None, said
    read = shares_of([kept.get(name, 0.0) for name in given.sources]) * (total - last)
    late, more = _cut(given, trial.late, last, room - read, trial.most_epochs)
    return kept, late, said + [f"at the end {sentence}" for sentence in more]


def _cut(
    given: Field, shares: Mapping[str, float], tokens: float, room: np.ndarray, epochs: float
) -> tuple[dict[str, float], list[str]]:
    """Shares of a part of a run that reads `tokens`, of each source at most its `room`."""
    wanted = shares_of([shares.get(name, 0.0) for name in given.sources])
    over = wanted * tokens > room + 1e-6
    said = [
        f"{name} would be read {wanted[n] * tokens:,.0f} tokens where {epochs:g} epochs leave "
        f"{max(0.0, room[n]):,.0f}; its share is cut to {max(0.0, room[n]) / tokens:.3f}"
        for n, name in enumerate(given.sources)
        if over[n]
    ]
    if not said:
        return dict(shares), []
    try:
        return given.named(capped(wanted, np.clip(room / tokens, 0.0, 1.0))), said
    except DataError as fault:
        raise DataError(f"{fault}: {said[0]}") from None
