"""Preference losses: unit values, and gradients that do what the formula says."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from herd.align.dpo import objective
from herd.align.losses import losses
from herd.align.reward import ranking
from herd.model.heads import RewardModel
from herd.train.pairs import PairBatches, encode_pairs
from tests.model.test_transformer import SMALL, model
from tests.tokens.test_chat import FORM, TOKENIZER
from tests.train.test_pairs import preference


@pytest.mark.row(42)
def test_dpo_has_its_unit_values(figure) -> None:
    # log p(policy) - log p(reference) of 0.5 and -0.5 at beta 0.1; with 0.2 x 1.2 nats per token added.
    value = float(losses.get("dpo")(torch.tensor([0.5]), torch.tensor([-0.5]), beta=0.1)[0])
    figure(f"{value:.8f}")
    assert value == pytest.approx(math.log(1 + math.exp(-0.1)), abs=1e-7)
    assert value == pytest.approx(0.64439666, abs=1e-7)
    assert value + 0.2 * 1.2 == pytest.approx(0.88439666, abs=1e-7)


def test_dpo_is_log_two_at_the_reference() -> None:
    zero = torch.zeros(3)
    assert torch.allclose(losses.get("dpo")(zero, zero, beta=0.3), torch.full((3,), math.log(2)))


@given(st.floats(-20, 20), st.floats(-20, 20), st.floats(0.01, 1))
def test_dpo_falls_as_the_chosen_answer_gains(chosen: float, rejected: float, beta: float) -> None:
    def at(value: float) -> float:
        pair = torch.tensor([value], dtype=torch.float64), torch.tensor([rejected], dtype=torch.float64)
        return float(losses.get("dpo")(*pair, beta=beta)[0])

    assert at(chosen + 0.5) < at(chosen)


@pytest.mark.row(42)
def test_the_objective_adds_the_likelihood_and_leaves_headers_alone(figure) -> None:
    from dataclasses import replace

    made = model(replace(SMALL, vocabulary=TOKENIZER.size))
    pairs = encode_pairs([preference(n) for n in range(4)], FORM, every=False, context=64)
    batch = PairBatches(pairs, size=4, epochs=1, seed=0, pad=TOKENIZER.pad).batch(0)
    from herd.align.dpo import log_probs, reference_log_probs

    reference = reference_log_probs(made, pairs, TOKENIZER.pad)
    plain, _ = objective(losses.make(losses.use("dpo")), reference, 0.0)(made, batch)
    held, sums = objective(losses.make(losses.use("dpo")), reference, 0.2)(made, batch)
    assert plain.item() == pytest.approx(4 * math.log(2), rel=1e-5)
    chosen, _ = log_probs(made, batch)
    nll = (-chosen / batch.better.content_BT.sum(-1)).sum().item()
    assert held.item() == pytest.approx(plain.item() + 0.2 * nll, rel=1e-5)
    assert sums["preference"] == pytest.approx(4 * math.log(2), rel=1e-5)
    figure("likelihood term and mask as written")


@pytest.mark.row(39)
def test_a_reward_model_learns_a_latent_preference(figure) -> None:
    import random
    from dataclasses import replace

    from herd.align.reward import ranked_right
    from herd.core.places import LocalPlace
    from herd.core.records import Conversation, Message, Preference
    from herd.train.checkpoint import TrainState
    from herd.train.loop import alone, steps
    from herd.train.optimizer import AdamWSettings, adamw

    chance = random.Random(0)
    worth = {word: number for number, word in enumerate("system user assistant hello there Tools".split())}

    def one(number: int) -> Preference:
        a, b = chance.sample(sorted(worth), 2)
        best, worst = sorted((a, b), key=lambda word: -worth[word])
        prompt = Conversation((Message("user", f"{number}"),))
        return Preference(prompt=prompt, chosen=(Message("assistant", best),), rejected=(Message("assistant", worst),))

    pairs = encode_pairs([one(number) for number in range(300)], FORM, every=True, context=64)
    batches = PairBatches(pairs[:200], size=16, epochs=4, seed=0, pad=TOKENIZER.pad)
    torch.manual_seed(0)
    made = RewardModel(replace(SMALL, vocabulary=TOKENIZER.size))
    state = TrainState(made, adamw(made, AdamWSettings()))
    for _ in steps(state, batches, loss=ranking, rate=lambda step: 3e-3, clip=1.0, hands=alone(state, LocalPlace())):
        pass
    share = ranked_right(made, pairs[200:], TOKENIZER.pad) / 100
    figure(f"{share:.0%} of held-out pairs")
    assert share >= 0.9
