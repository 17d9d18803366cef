"""The bandit: more of what has the higher loss, and everything from seed and losses."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from herd.mixing.methods import methods
from herd.mixing.online import Exp3
from herd.mixing.proxies import SampledBatches, train_proxy
from herd.tokens.shards import TokenShards
from herd.train.log import Step
from tests.mixing.planted import field
from tests.mixing.test_methods import shards as shards


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


def told(number: int, skipped: str = "", **losses: float) -> Step:
    metrics = {f"loss/{name}": loss for name, loss in losses.items()}
    return Step(number, 1.0, 1.0, 1e-3, 1.0, 64.0, metrics, skipped)


def test_shares_follow_the_losses_and_stay_a_mix(shards: TokenShards) -> None:
    bandit = Exp3(field(shards, ("target", "noise")))
    assert bandit.weights.tolist() == [0.5, 0.5]
    for number in range(1, 40):
        bandit.learn(told(number, target=1.0, noise=4.0))
        assert bandit.weights.sum() == pytest.approx(1)
        assert bandit.weights.min() > 0  # what is never read could not be found better
    assert bandit.weights[1] > bandit.weights[0]
    assert len(bandit.path) == 40


def test_a_reward_is_a_loss_over_its_share_and_decays(shards: TokenShards) -> None:
    bandit = Exp3(field(shards, ("target", "noise")), decay=0.9)
    bandit.learn(told(1, target=2.0))
    assert bandit.rewards == pytest.approx([0.1 * 2.0, 0.0])  # at equal shares a reward is the loss
    before = bandit.rewards.copy()
    bandit.learn(told(2, skipped="spike", target=9.0, noise=9.0))
    assert bandit.rewards == pytest.approx(before)  # a step that was not taken teaches nothing


def test_rows_are_chosen_by_the_shares_and_again_alike(shards: TokenShards) -> None:
    bandit = Exp3(field(shards, ("target", "noise"), seed=3))
    bandit.weights = np.array([0.8, 0.2])
    chosen = [name for step in range(100) for name in bandit.choose(step, 8)]
    assert Counter(chosen)["target"] / 800 == pytest.approx(0.8, abs=0.05)
    assert [*bandit.choose(5, 8)] == [*bandit.choose(5, 8)]
    assert [*bandit.choose(5, 8)] != [*bandit.choose(6, 8)]
