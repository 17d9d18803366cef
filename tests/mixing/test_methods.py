"""Methods of mixing on sources whose relations are planted."""

from __future__ import annotations

import csv
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.stats import spearmanr

from herd.core.errors import DataError, SettingsError
from herd.mixing.methods import methods
from herd.mixing.methods.regmix import draw_mixes, fit
from herd.mixing.online import Exp3
from herd.mixing.problem import MixProblem, cap_weights, repetition_warnings
from herd.mixing.proxies import SampledBatches, random_sources, stratified_batches, train_proxy
from herd.mixing.stages import TrialSettings, _within_epochs
from herd.tokens.shards import TokenShards
from tests.mixing.planted import field, language, noise, planted, run


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> TokenShards:
    """A language, a second source of it, and noise."""
    folder = tmp_path_factory.mktemp("planted")
    return planted(folder, {"target": language(1), "helper": language(1), "noise": noise})


def test_controls_give_the_shares_they_are_called_by(shards: TokenShards) -> None:
    given = field(shards)
    for name in ("uniform", "stratified_uniform", "proportional"):
        found = methods.make(methods.configure(name))(given)
        assert found.weights == pytest.approx(dict.fromkeys(given.sources, 1 / 3), abs=1e-9)
        assert found.sampled == (name == "uniform")
    own = methods.make(methods.configure("fixed_weights", label="ours", weights={"target": 0.6, "noise": 0.2}))(given)
    assert own.weights == pytest.approx({"helper": 0.0, "noise": 0.25, "target": 0.75})
    with pytest.raises(DataError, match="ours names typo"):
        methods.make(methods.configure("fixed_weights", label="ours", weights={"typo": 1.0}))(given)


@pytest.mark.row(23, "noise")
def test_doremi_gives_noise_less_than_raw_losses_would(shards: TokenShards, figure) -> None:
    given = field(shards, ("target", "noise"))
    judged, raw = (methods.make(methods.configure("doremi", eta=0.2, excess=kind))(given) for kind in (True, False))
    figure(f"share of noise {judged.weights['noise']:.2f}, by raw losses {raw.weights['noise']:.2f}")
    assert judged.weights["noise"] < raw.weights["noise"] - 0.05
    assert judged.flops > given.flops(given.proxy.tokens)
    assert judged.path
    assert judged.seconds > 0
    assert judged.baseline_seconds > 0


@pytest.mark.row(24, "helper")
@pytest.mark.parametrize("form", ["code", "paper"])
def test_doge_finds_the_helper_in_nine_of_ten_seeds(form: str, shards: TokenShards, figure) -> None:
    found = [
        methods.make(methods.configure("doge", form=form, targets=("target",), mu=2e-2))(
            field(shards, seed=seed)
        ).weights
        for seed in range(10)
    ]
    times = [one["helper"] / one["noise"] for one in found]
    twice = sum(one > 2 for one in times)
    figure(f"{form}: helper by noise {min(times):.1f} to {max(times):.1f} times, twice in {twice} of 10 seeds")
    assert twice >= 9


PRIOR = np.array([0.4, 0.3, 0.15, 0.1, 0.05])


def ranked(kind: str, runs: int, losses: Callable[[np.ndarray], np.ndarray], seed: int = 0) -> float:
    """The rank correlation of predicted and true losses of 500 mixes, after so many noisy runs."""
    chance = np.random.default_rng(seed)
    mixes, unseen = draw_mixes(PRIOR, runs, chance), draw_mixes(PRIOR, 500, chance)
    noisy = losses(mixes)
    predicted = fit(kind, mixes, noisy + chance.normal(0, 0.01, noisy.shape))(unseen)
    found: Any = spearmanr(predicted, losses(unseen).mean(1))
    return float(found.statistic)


@pytest.mark.row(25, "surface")
@pytest.mark.parametrize(("kind", "runs"), [("law", 64), ("lightgbm", 512)])
def test_a_regression_ranks_a_planted_surface_of_another_form(kind: str, runs: int, figure) -> None:
    """A source's loss falls as a power of what is read of it and of what helps it: not the law that is fitted."""
    if kind == "lightgbm":
        pytest.importorskip("lightgbm", reason="the extra `mixing` is not installed")
    helps = np.eye(5) + np.random.default_rng(1).uniform(0, 0.4, (5, 5))
    found = ranked(kind, runs, lambda mixes: 1.5 + 0.4 * (0.01 + mixes @ helps.T) ** -0.3)
    line = ranked("linear", runs, lambda mixes: 1.5 + 0.4 * (0.01 + mixes @ helps.T) ** -0.3)
    figure(f"{kind}, {runs} runs: rank correlation {found:.3f} on unseen mixes; a linear fit {line:.3f}")
    assert found >= 0.9


@pytest.mark.row(25, "published")
def test_published_mixes_are_ranked_at_a_thousand_times_the_size(figure) -> None:
    """512 mixes of the Pile by models of 1M weights rank 64 others by models of 1B. The table says its source."""
    with (Path(__file__).parent / "published_mixes.csv").open(encoding="utf-8") as file:
        rows = list(csv.reader(line for line in file if not line.startswith("#")))[1:]
    small, large = ([[float(n) for n in row[1:]] for row in rows if row[0] == weights] for weights in ("1M", "1B"))
    x, y = np.array(small)[:, :-1] / 1000, np.array(small)[:, -1]
    unseen, losses = np.array(large)[:, :-1] / 1000, np.array(large)[:, -1]
    found = {}
    for kind in ("linear", "law"):
        correlation: Any = spearmanr(fit(kind, x, y)(unseen), losses)
        found[kind] = float(correlation.statistic)
    figure(f"{len(x)} mixes at 1M rank {len(unseen)} at 1B: linear {found['linear']:.3f}, law {found['law']:.3f}")
    assert found["linear"] >= 0.85
    assert found["law"] >= 0.95


def test_a_linear_fit_ranks_a_linear_surface() -> None:
    pull = np.random.default_rng(0).normal(0, 0.3, (5, 5))
    assert ranked("linear", 64, lambda mixes: 2 + mixes @ pull.T) >= 0.95


def test_mixes_are_drawn_around_the_proportions_and_keep_the_cap() -> None:
    prior = np.array([0.9, 0.08, 0.02])
    found = draw_mixes(prior, 400, np.random.default_rng(0))
    assert found.sum(1) == pytest.approx(np.ones(400))
    assert (found <= np.maximum(15 * prior, 1 / 3) / 0.9).all()
    assert found.std(0).min() > 0.05
    with pytest.raises(DataError, match="4 runs are too few for 3 sources"):
        fit("law", found[:4], found[:4])


def test_regmix_tells_its_spread_and_leaves_noise_out(shards: TokenShards) -> None:
    given = field(shards, proxy=run(tokens=16 * 20 * 512))
    found = methods.make(methods.configure("regmix", runs=16, regression="linear", resamples=5))(given)
    assert sum(found.weights.values()) == pytest.approx(1)
    assert set(found.spread) == set(given.sources)
    assert found.flops == pytest.approx(given.flops(16 * 20 * 512))


def test_a_bandit_follows_the_losses_of_its_own_run_and_repeats(shards: TokenShards) -> None:
    def once() -> tuple[list[np.ndarray], dict[str, int]]:
        given = field(shards, ("target", "noise"))
        bandit = Exp3(given)
        batches = SampledBatches(given, given.proxy, bandit.choose)
        _, curve = train_proxy(given, given.proxy, batches, on_step=bandit.learn)
        return bandit.path, curve.tokens_read

    path, read = once()
    again, read_again = once()
    assert all((one == other).all() for one, other in zip(path, again, strict=True))
    assert read == read_again
    # Noise keeps its loss, which this reward takes for something to be learnt: the method's known weakness.
    assert path[-1][1] > path[-1][0]
    assert methods.make(methods.configure("bandit"))(field(shards)).online


def test_rows_by_chance_and_rows_evenly_meet_the_shares(shards: TokenShards) -> None:
    given = field(shards)
    shares = np.array([0.5, 0.3, 0.2])
    batches = SampledBatches(given, given.proxy, random_sources(given, shares))
    for step in range(len(batches)):
        assert len(batches.batch(step).sources) == 8
    read = np.array([batches.rows_read[name] for name in given.sources])
    assert read / read.sum() == pytest.approx(shares, abs=0.08)
    even = stratified_batches(given, given.proxy, given.named(shares), late=(0.25, {"noise": 1.0})).counts()
    assert even["noise"]["rows"] == pytest.approx((0.75 * 0.3 + 0.25) * 480, abs=2)  # the sources stand by name


def test_the_runs_end_reads_what_the_rest_has_left(shards: TokenShards) -> None:
    given = field(shards)
    there = {name: shards.index["sources"][name]["train"]["tokens"] for name in given.sources}
    one, *others = given.sources
    tokens = 2 * there[one] // 512 * 512
    trial = TrialSettings(
        run=replace(run(), tokens=tokens),
        max_epochs=1.0,
        late_share=0.5,
        late_weights={one: 1.0} | dict.fromkeys(others, 0.5),
    )
    equal = dict.fromkeys(given.sources, 1.0)
    kept, late, said = _within_epochs(given, equal, trial)
    assert kept == equal
    assert late is not None
    # A third of the first half was its own, so of the second half two thirds may be at most; it asked for a half.
    assert (late, said) == (trial.late_weights, [])
    tight = replace(trial, late_weights={one: 0.9} | dict.fromkeys(others, 0.05))
    _, late, said = _within_epochs(given, equal, tight)
    assert late is not None
    assert late[one] == pytest.approx(1 - 1 / len(given.sources), abs=0.01)
    assert said[0].startswith(f"at the end {one} would be read")
    _, none, _ = _within_epochs(given, equal, replace(trial, late_weights=None))
    assert none is None


def test_shares_are_cut_to_the_epochs_allowed(shards: TokenShards) -> None:
    held = shards.index["sources"]["noise"]["train"]["tokens"]
    (said,) = repetition_warnings(shards, {"noise": 0.5, "target": 0.5 * 1e-9}, 8 * held, 4)
    assert "noise holds 9,750 tokens and would be read 8.0 times; a share of at most 0.500" in said
    assert cap_weights(np.array([0.8, 0.1, 0.1]), np.array([0.4, 1.0, 1.0])) == pytest.approx([0.4, 0.3, 0.3])
    assert cap_weights(np.array([1.0, 0.0]), np.array([0.4, 1.0])) == pytest.approx([0.4, 0.6])
    with pytest.raises(DataError, match="hold only 90% of the tokens"):
        cap_weights(np.array([0.5, 0.5]), np.array([0.4, 0.5]))


def test_bad_fields_are_refused(shards: TokenShards) -> None:
    with pytest.raises(DataError, match="the tokens hold no typo; they hold helper, noise, target"):
        field(shards, ("target", "typo"))
    with pytest.raises(DataError, match="one source makes no mix"):
        field(shards, ("target",))
    with pytest.raises(DataError, match="batch_tokens 32 holds no row of 64; try 64"):
        replace(run(), batch_tokens=32)
    with pytest.raises(SettingsError, match="doremi"):
        methods.configure("doremy")


def test_a_field_counts_flops_by_its_proxy(tmp_path: Path) -> None:
    given: MixProblem = field(planted(tmp_path, {"a": noise, "b": noise}, documents=10))
    shape = given.shape(given.proxy)
    assert given.flops(100) == pytest.approx(100 * shape.training_flops(64))
