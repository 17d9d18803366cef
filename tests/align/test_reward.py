"""A reward model ranks answers as people did, and says how sure it is."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch

from herd.align.reward import calibration, held_out_gaps, ranking_loss
from herd.model.heads import RewardModel
from herd.train.preferences import PreferenceBatch, PreferenceBatches, encode_preferences
from tests.model.test_transformer import SMALL
from tests.tokens.test_chat import FORM, TOKENIZER
from tests.train.test_preferences import preference


@pytest.mark.row(39, "latent")
@pytest.mark.parametrize("together", [False, True])
def test_a_reward_model_learns_a_latent_preference(figure, together: bool) -> None:
    import random

    from herd.core.records import Conversation, Message, Preference
    from herd.run.executors import LocalExecutor
    from herd.train.checkpoint import TrainState
    from herd.train.loop import single_device, train_steps
    from herd.train.optimizer import AdamWSettings, adamw

    chance = random.Random(0)
    worth = {word: number for number, word in enumerate("system user assistant hello there Tools".split())}

    def one(number: int) -> Preference:
        a, b = chance.sample(sorted(worth), 2)
        best, worst = sorted((a, b), key=lambda word: -worth[word])
        prompt = Conversation((Message("user", f"{number}"),))
        return Preference(prompt=prompt, chosen=(Message("assistant", best),), rejected=(Message("assistant", worst),))

    pairs = encode_preferences([one(number) for number in range(300)], FORM, context=64).preferences
    batches = PreferenceBatches(
        pairs[:200], size=16, epochs=4, seed=0, pad=TOKENIZER.pad_id, length=64, share_prompt=together
    )
    torch.manual_seed(0)
    made = RewardModel(replace(SMALL, vocab_size=TOKENIZER.vocab_size))
    state = TrainState(made, adamw(made, AdamWSettings()))
    for _ in train_steps(
        state,
        batches,
        loss_fn=ranking_loss(),
        lr_schedule=lambda step: 3e-3,
        max_grad_norm=1.0,
        strategy=single_device(state, LocalExecutor()),
    ):
        pass
    gaps = held_out_gaps(made, pairs[200:], TOKENIZER.pad_id, share_prompt=together)
    share = float((gaps > 0).float().mean())
    figure(f"{share:.0%} of held-out pairs, {'together' if together else 'alone'}")
    assert share >= 0.9


@pytest.mark.row(39, "three_way")
def test_three_ranked_answers_have_their_unit_loss(figure) -> None:
    found = unit_loss({})
    figure(f"{found:.8f}")
    assert found == pytest.approx(0.32958398, abs=1e-7)
    # With a margin of 1 each gap counts as one less.
    gaps = torch.tensor([0.5, 1.5, 1.0], dtype=torch.float64) - 1
    assert unit_loss({0: 1.0}) == pytest.approx(float(-torch.nn.functional.logsigmoid(gaps).mean()), abs=1e-7)


def unit_loss(margins: dict[int, float]) -> float:
    """Of three answers with the scores 1.2, .7 and -.3."""
    ranked = encode_preferences([preference(0, edited=True)], FORM, context=100).preferences
    batch = PreferenceBatch(tuple(ranked), TOKENIZER.pad_id, 100)
    ends = batch.packed.ends_A

    def says(tokens_RT: torch.Tensor, documents_BT: torch.Tensor | None = None) -> torch.Tensor:
        scores = torch.zeros(tokens_RT.shape, dtype=torch.float64)
        scores.view(-1)[ends] = torch.tensor([1.2, 0.7, -0.3], dtype=torch.float64)
        return scores

    return float(ranking_loss(margins)(says, batch)[0])  # type: ignore[arg-type]


@pytest.mark.row(39, "packing")
def test_answers_in_one_row_stand_in_an_order_drawn_anew() -> None:
    ranked = encode_preferences([preference(n, edited=True) for n in range(30)], FORM, context=100).preferences
    made = RewardModel(SMALL)
    slots = set()
    for seed in range(3):
        batch = PreferenceBatch(tuple(ranked), TOKENIZER.pad_id, 100, share_prompt=True, seed=seed)
        ends = batch.packed.ends_A.view(-1, 3)
        slots |= {tuple(row.argsort().tolist()) for row in ends}
        assert (
            batch.packed.tokens_RT.numel()
            < PreferenceBatch(tuple(ranked), TOKENIZER.pad_id, 100).packed.tokens_RT.numel()
        )
    assert len(slots) == 6
    assert made.score.weight.abs().sum() == 0


def test_calibration_is_the_distance_between_said_and_true() -> None:
    sure = torch.full((100,), math.log(9.0))  # nine in ten
    sure[:10] *= -1
    assert calibration(sure)[0] == pytest.approx(0.0, abs=1e-6)
    assert calibration(sure.abs())[0] == pytest.approx(0.1, abs=1e-6)
