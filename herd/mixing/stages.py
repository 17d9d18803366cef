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
from herd.core.registry import PluginConfig
from herd.core.settings import AddedLater, PositiveFloat, PositiveInt, Share, settings
from herd.core.stage import Packages, Work, stage
from herd.mixing.comparing import Trial, compare_trials, forecast_losses, rank_agreement, search_costs, upsampling_gains
from herd.mixing.methods import LIGHTGBM, methods
from herd.mixing.online import Exp3
from herd.mixing.problem import MixProblem, MixResult, ProxySettings
from herd.mixing.proxies import SampledBatches, random_sources, stratified_batches, train_proxy
from herd.mixing.results import LossPoint, MixComparison, MixForecast, MixSearch, MixTrial, UpsamplingCurve
from herd.mixing.updates import normalize
from herd.tokens.shards import TokenShards
from herd.train.mixture import cap_weights

MixMethod = Annotated[PluginConfig, methods.choice]


@settings
class MixSettings:
    """sources: to be mixed; all when none is named. eval_tokens: of each source's held-out text, for a loss."""

    sources: tuple[str, ...] = ()
    eval_tokens: PositiveInt = 4096


def _packages(*, method: MixMethod, **_: Any) -> Packages:
    return (LIGHTGBM,) if method.settings.get("regression") == "lightgbm" else ()


@stage(paper="3.1.2", version=2, packages=_packages, gpu=True)
def find_mix(
    work: Work, tokens: Tokens, *, method: MixMethod, proxy: ProxySettings, settings: MixSettings, seed: int = 0
) -> Mix:
    """The shares that a method finds with small runs."""
    problem = _problem(work, tokens, proxy, settings, seed)
    mix: MixResult = methods.make(method)(problem)
    result = MixSearch(
        method=method.name,
        settings=dict(method.settings),
        seed=seed,
        proxy_params=problem.shape(proxy).num_params,
        shares=dict(mix.weights),
        spread=dict(mix.spread),
        sampled=mix.sampled,
        online=mix.online,
        flops=mix.flops,
        seconds=mix.seconds,
        baseline_seconds=mix.baseline_seconds,
        path=tuple(dict(weights) for weights in mix.path),
    )
    _keep(work, result, "mix.json")
    largest = sorted(mix.weights.items(), key=lambda pair: -pair[1])[:3]
    work.headline = f"{method.name}: " + ", ".join(f"{name} {weight:.0%}" for name, weight in largest)
    return Mix(work.out)


@settings
class TrialSettings:
    """A run on a mix. points: how often the losses are taken on the way. max_epochs: what a source may be read at
    most, in both parts together; its share is cut to that. late_weights: of the last part of the run, so large as
    `late_share` says, in the place of the mix's."""

    run: ProxySettings
    points: PositiveInt = 8
    max_epochs: PositiveFloat = 4.0
    late_share: Share = 0.0
    late_weights: Mapping[str, Share] | None = None


@stage(paper="3.1.2", version=4, gpu=True)
def try_mix(
    work: Work, tokens: Tokens, mix: Mix, *, trial: TrialSettings, settings: MixSettings, seed: int = 0
) -> Scores:
    """What a model learns of every source when it is trained on a mix."""
    problem = _problem(work, tokens, trial.run, settings, seed)
    mix_row = mix.result(MixSearch)
    weights, late_weights, warnings = _within_epochs(problem, mix_row.shares, trial)
    callbacks: dict[str, Any] = {}
    if mix_row.online:
        bandit = Exp3(problem)
        batches: Any = SampledBatches(problem, trial.run, bandit.choose)
        callbacks = {"on_step": bandit.learn}
    elif mix_row.sampled:
        batches = SampledBatches(
            problem, trial.run, random_sources(problem, np.array([weights[n] for n in problem.sources]))
        )
    else:
        batches = stratified_batches(problem, trial.run, weights, late=(trial.late_share, late_weights))
    _, curve = train_proxy(problem, trial.run, batches, points=trial.points, **callbacks)
    total_tokens = sum(curve.tokens_read.values())
    result = MixTrial(
        method=mix_row.method,
        settings=mix_row.settings,
        seed=seed,
        num_params=problem.shape(trial.run).num_params,
        flops=problem.flops(curve.rows * trial.run.length, trial.run),
        late_share=trial.late_share,
        shares={name: count / total_tokens for name, count in curve.tokens_read.items()},
        epochs={name: _epochs(problem, name, count) for name, count in curve.tokens_read.items()},
        cut=tuple(warnings),
        points=tuple(LossPoint(point.tokens, dict(point.losses)) for point in curve.points),
        seconds=curve.seconds,
    )
    _keep(work, result, "scores.json")
    last = curve.last
    work.headline = f"{mix_row.method}: mean loss {last.mean:.3f}, worst source {last.worst:.3f}"
    return Scores(work.out)


@stage(paper="3.1.2", version=1)
def compare_mixes(
    work: Work, mixes: tuple[Mix, ...], trials: tuple[Scores, ...], *, control: str = "stratified_uniform"
) -> Scores:
    """Every method against `control`, seed by seed, and what its search cost."""
    rows = compare_trials([Trial.of(trial.result(MixTrial)) for trial in trials], control=control)
    searches = search_costs([mix.result(MixSearch) for mix in mixes])
    _keep(work, MixComparison(control, tuple(rows), tuple(searches)), "scores.json")
    best = min(rows, key=lambda row: row.mean)
    verdict = "beats it" if best.gain.low > 0 else "no more than chance may have given it"
    work.headline = f"least mean loss by {best.method}: {best.gain.value:+.4f} nats below {control}, {verdict}"
    return Scores(work.out)


@stage(paper="3.1.2", version=3)
def forecast_mixes(
    work: Work,
    small: tuple[Scores, ...],
    large: tuple[Scores, ...],
    *,
    target_flops: AddedLater[PositiveFloat | None] = None,
) -> Scores:
    """Every mix of `large` as predicted from its runs in `small`, and whether the order came out as predicted.

    target_flops: where mixes are predicted that no run is large enough to measure, of every mix in `small`.
    """
    trials = [Trial.of(scores.result(MixTrial)) for scores in small]
    targets = [Trial.of(scores.result(MixTrial)) for scores in large]
    forecasts = forecast_losses(trials, targets, target_flops=target_flops)
    agreement = rank_agreement(forecasts) if targets else None
    at = targets[0].flops if targets else target_flops or 0.0
    orders = math.log10(at / max(trial.flops for trial in trials))
    _keep(work, MixForecast(agreement, orders, tuple(forecasts)), "scores.json")
    best = min(forecasts, key=lambda forecast: forecast.loss)
    work.headline = f"{len(forecasts)} mixes predicted, " + (
        f"least loss by {best.label}, {best.loss:.3f}"
        if agreement is None
        else f"rank correlation {agreement:.2f} with what was measured"
    )
    return Scores(work.out)


@stage(paper="3.1.3", version=1)
def upsampling_curve(work: Work, trials: tuple[Scores, ...], *, domains: tuple[str, ...]) -> Scores:
    """By how much the loss on the `domains`, and on all other sources, falls with the part of the end given to them.

    Against the runs without such a part, paired by seed; nats a token with Student's 95 % intervals.
    """
    curves = upsampling_gains([trial.result(MixTrial) for trial in trials], domains)
    best = max(curves["domains"], key=lambda point: point[1])
    points = {name: tuple(points) for name, points in curves.items()}
    _keep(work, UpsamplingCurve(domains, points), "scores.json")
    work.headline = f"domains gain most, {best[1]:+.3f} nats [{best[2]:+.3f}, {best[3]:+.3f}], at {best[0]:.0%}"
    return Scores(work.out)


def _keep(work: Work, result: Any, file: str) -> None:
    """Records a result, and writes it as the artifact's file."""
    (work.out / file).write_text(json.dumps(asdict(result), indent=1), encoding="utf-8")
    work.record(result)


def _problem(work: Work, tokens: Tokens, run: ProxySettings, settings: MixSettings, seed: int) -> MixProblem:
    shards = TokenShards(tokens.path)
    sources = settings.sources or tuple(shards.sources)
    on_progress = lambda progress: work.progress(progress, 1.0)  # noqa: E731
    return MixProblem(shards, sources, run, seed, work.executor, work.device, settings.eval_tokens, on_progress)


def _epochs(problem: MixProblem, name: str, tokens: int) -> float:
    return round(tokens / max(1, problem.shards.index["sources"][name]["train"]["tokens"]), 2)


def _within_epochs(
    problem: MixProblem, weights: Mapping[str, float], trial: TrialSettings
) -> tuple[dict[str, float], dict[str, float] | None, list[str]]:
    """The mix, and that of the run's last part, cut so that no source is read too often; a sentence for each that was.

    The last part may read what the rest has left.
    """
    total = trial.run.steps * trial.run.batch_tokens
    last = total * trial.late_share if trial.late_weights else 0.0
    available = np.array([problem.shards.index["sources"][name]["train"]["tokens"] for name in problem.sources], float)
    room = trial.max_epochs * available
    main_weights, warnings = _cut(problem, weights, total - last, room, trial.max_epochs)
    if not trial.late_weights or not last:
        return main_weights, None, warnings
    read = normalize([main_weights.get(name, 0.0) for name in problem.sources]) * (total - last)
    late_weights, late_warnings = _cut(problem, trial.late_weights, last, room - read, trial.max_epochs)
    return main_weights, late_weights, warnings + [f"at the end {sentence}" for sentence in late_warnings]


def _cut(
    problem: MixProblem, weights: Mapping[str, float], tokens: float, room: np.ndarray, epochs: float
) -> tuple[dict[str, float], list[str]]:
    """Shares of a part of a run that reads `tokens`, of each source at most its `room`."""
    target = normalize([weights.get(name, 0.0) for name in problem.sources])
    over = target * tokens > room + 1e-6
    warnings = [
        f"{name} would be read {target[n] * tokens:,.0f} tokens where {epochs:g} epochs leave "
        f"{max(0.0, room[n]):,.0f}; its share is cut to {max(0.0, room[n]) / tokens:.3f}"
        for n, name in enumerate(problem.sources)
        if over[n]
    ]
    if not warnings:
        return dict(weights), []
    try:
        return problem.named(cap_weights(target, np.clip(room / tokens, 0.0, 1.0))), warnings
    except DataError as fault:
        raise DataError(f"{fault}: {warnings[0]}") from None
