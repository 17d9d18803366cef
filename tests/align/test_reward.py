"""A reward model ranks answers as people did, and says how sure it is."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from herd.align.reward import _margins, calibration, gaps_of, held_out_gaps, ranking_loss, reward_result, scores_of
from herd.model.heads import RewardModel
from herd.train.preferences import PreferenceBatch, PreferenceBatches, encode_preferences
from tests.model.test_transformer import SMALL, model
from tests.tokens.test_chat import FORM, TOKENIZER
from tests.train.test_preferences import batch_of, preference


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


@given(st.lists(st.floats(-5, 5), min_size=2, max_size=4))
def test_every_answer_is_held_against_all_that_are_ranked_below_it(values: list[float]) -> None:
    scores = torch.tensor(values, dtype=torch.float64)
    gaps = gaps_of(scores)
    assert len(gaps) == len(values) * (len(values) - 1) // 2
    assert float(gaps[0]) == values[0] - values[1]
    assert torch.allclose(gaps_of(scores + 3), gaps)  # only differences count
    assert torch.allclose(gaps_of(scores.flip(0)).sort().values, (-gaps).sort().values)


@given(st.lists(st.floats(-20, 20).filter(bool), min_size=1, max_size=60))
def test_calibration_counts_every_pair_and_is_a_share(values: list[float]) -> None:
    error, bins = calibration(torch.tensor(values, dtype=torch.float64))
    assert 0 <= error <= 1
    assert 1 <= len(bins) <= 10
    # Which answer stood first says nothing of how sure it was.
    turned = calibration(-torch.tensor(values, dtype=torch.float64))[0]
    sure = [1 / (1 + math.exp(-abs(value))) for value in values]
    if all(value > 0 for value in values):
        assert error == pytest.approx(1 - sum(sure) / len(sure), abs=1e-9)
        assert turned == pytest.approx(sum(sure) / len(sure), abs=1e-9)


def test_scores_are_read_at_each_answers_last_token_in_order_of_the_ranks() -> None:
    """A stub that scores a token by its id: only endings may be asked."""
    batch = batch_of(preference(0, edited=True), preference(1))

    def says(tokens_RT: torch.Tensor, documents_BT: torch.Tensor | None = None) -> torch.Tensor:
        return tokens_RT.double()

    scores = scores_of(says, batch)  # type: ignore[arg-type]
    assert [len(one) for one in scores] == [3, 2]
    assert {int(score) for one in scores for score in one} <= set(TOKENIZER.stop_token_ids)


@pytest.mark.parametrize("shared", [True, False])
def test_a_prompt_with_its_answers_in_one_row_has_the_scores_of_each_alone(shared: bool) -> None:
    torch.manual_seed(0)
    trunk = model(replace(SMALL, vocab_size=TOKENIZER.vocab_size, max_seq_len=128))
    made = RewardModel.from_transformer(trunk).eval()
    torch.nn.init.normal_(made.score.weight)
    pair = preference(0, edited=True), preference(1)
    with torch.inference_mode():
        alone = [scores_of(made, batch_of(one)) for one in pair]
        together = scores_of(made, batch_of(*pair, shared=shared))
        for (one,), other in zip(alone, together, strict=True):
            assert torch.allclose(one, other, atol=1e-5)
        if shared:
            # Answers that see those before them have other scores, but the one that stands first.
            seen = torch.cat(scores_of(made, batch_of(*pair, shared=True), True)) - torch.cat(together)
            assert int((seen.abs() > 1e-4).sum()) >= 2


def test_a_rows_own_margin_goes_before_that_of_its_strength() -> None:
    rows = [preference(0), replace(preference(1), margin=0.25), replace(preference(2), strength="slightly better")]
    ranked = encode_preferences(rows, FORM, context=100).preferences
    assert _margins(rows, ranked, {"better": 1.0, "slightly better": 0.0}) == {0: 1.0, 1: 0.25}
    assert _margins(rows, ranked, None) == {1: 0.25}


def test_held_out_pairs_are_counted_by_source() -> None:
    result = reward_result(torch.tensor([1.0, -1.0, 2.0, 3.0]), ["sum", "talk", "sum", "talk"])
    assert (result.held_out.right, result.held_out.pairs) == (3, 4)
    assert {source: (own.right, own.pairs) for source, own in result.sources.items()} == {"sum": (2, 2), "talk": (1, 2)}
    assert result.sources["sum"].low == pytest.approx(0.342, abs=1e-3)  # Wilson's interval of 2 of 2
