"""Preference losses: unit values, and gradients that do what the formula says."""

from __future__ import annotations

import copy
import math
from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from herd.align.dpo import objective
from herd.align.losses import PairLogProbs, losses, uses_reference
from herd.core.errors import SettingsError
from herd.train.preferences import PreferenceBatches, encode_preferences
from tests.model.test_transformer import SMALL, model
from tests.tokens.test_chat import FORM, TOKENIZER
from tests.train.test_preferences import preference


def ratios(chosen: float, rejected: float) -> PairLogProbs:
    return PairLogProbs.from_logratios(*(torch.tensor([value], dtype=torch.float64) for value in (chosen, rejected)))


# An answer of ten tokens and one of twelve, by the policy and by the reference: log-ratios of -1 and -2.
PAIR = PairLogProbs(*(torch.tensor([value], dtype=torch.float64) for value in (-12, -15, -11, -13, 10, 12)))
UNIT_VALUES = [
    ("dpo", {"beta": 0.1}, 0.64439666),
    ("dpo", {"beta": 0.1, "label_smoothing": 0.1}, 0.65439666),
    ("robust_dpo", {"beta": 0.1, "label_smoothing": 0.1}, (0.9 * 0.64439666 - 0.1 * 0.74439666) / 0.8),
    ("hinge", {"beta": 0.1}, 0.9),
    ("ipo", {"tau": 0.1, "per_token": False}, 16.0),
    ("ipo", {"tau": 0.1}, 24.33777778),
    ("simpo", {"beta": 2.0, "margin": 1.0}, 1.24115387),
    ("kto", {"beta": 0.1}, 0.52497919 + 0.45016600),
    ("kto_pair", {"beta": 0.1}, 0.52497919 + 0.45016600),
    # h of -1 and -2, and beta .1, by hand.
    ("dpo", {"beta": 10.0, "per_token": True}, math.log1p(math.exp(-10 * (-1 / 10 + 2 / 12)))),
    ("apo_zero", {"beta": 0.1}, 1 / (1 + math.exp(-0.1)) + 1 / (1 + math.exp(0.2))),
    ("apo_down", {"beta": 0.1}, 1 / (1 + math.exp(0.1)) + 1 / (1 + math.exp(0.1))),
    ("bco", {"beta": 0.1}, math.log1p(math.exp(0.1)) + math.log1p(math.exp(-0.2))),
    ("nca", {"beta": 0.1}, 1.5 * math.log1p(math.exp(0.1)) - 0.05 + 0.5 * math.log1p(math.exp(-0.2))),
    ("sppo", {"beta": 0.1}, (-1 - 5) ** 2 + (-2 + 5) ** 2),
    ("aot", {"beta": 0.1}, 0.64439666),
    ("aot", {"beta": 0.1, "variant": "answers"}, 0.64439666),
    ("sft", {}, 1.2),
]


@pytest.mark.parametrize(("name", "given", "wanted"), UNIT_VALUES)
def test_losses_have_their_unit_values(name: str, given: dict, wanted: float) -> None:
    assert float(losses.get(name)(PAIR, **given)) == pytest.approx(wanted, abs=1e-7)


def test_kto_measures_against_what_the_policy_has_moved_anyway() -> None:
    moved = replace(PAIR, mismatched_M=torch.tensor([0.25, 0.75], dtype=torch.float64))
    assert float(losses.get("kto")(moved, undesirable_weight=0.0)) == pytest.approx(0.53742985, abs=1e-7)
    assert float(losses.get("kto")(moved, desirable_weight=0.0)) == pytest.approx(0.43782350, abs=1e-7)
    back = replace(PAIR, mismatched_M=torch.tensor([-0.5], dtype=torch.float64))
    assert torch.equal(losses.get("kto")(back), losses.get("kto")(PAIR))  # a divergence is never below zero


@pytest.mark.row(46, "unit")
def test_dpop_has_its_unit_values(figure) -> None:
    inside = float(losses.get("dpop")(PAIR, beta=0.3, weight=50.0))
    outside = float(losses.get("dpop")(PAIR, beta=0.3, weight=50.0, hinge_in="sigmoid"))
    figure(f"{inside:.8f}")
    assert inside == pytest.approx(14.70000041, abs=1e-7)
    assert outside == pytest.approx(49.7, abs=1e-6)
    assert float(losses.get("dpop")(PAIR, beta=0.1, weight=5.0)) == pytest.approx(0.91301525, abs=1e-7)


@pytest.mark.row(48, "unit")
def test_cpo_has_its_unit_value_and_asks_no_reference(figure) -> None:
    found = float(losses.get("cpo")(PAIR, beta=0.1))
    figure(f"{found:.8f}")
    assert found == pytest.approx(0.55435524, abs=1e-7)
    assert [name for name in losses.all() if not uses_reference(name)] == ["cpo", "orpo", "sft", "simpo"]


def test_orpo_has_its_unit_value() -> None:
    # A token of the chosen answer is held likely by 1.2 nats; the paper's loss adds just that.
    assert 1.2 + float(losses.get("orpo")(PAIR, weight=0.1)) == pytest.approx(1.26583723, abs=1e-7)


@given(st.lists(st.floats(-30, -0.5), min_size=4, max_size=4), st.integers(1, 20), st.integers(1, 20))
def test_every_loss_has_the_gradient_of_its_own_values(logs: list[float], chosen: int, rejected: int) -> None:
    """And none that rewards a likelier rejected answer, but for those whose margin is met or passed."""
    counts = [torch.tensor([float(count)], dtype=torch.float64) for count in (chosen, rejected)]
    for name in losses.all():
        policy = [torch.tensor([log], dtype=torch.float64, requires_grad=True) for log in logs[:2]]
        known = [torch.tensor([log], dtype=torch.float64) for log in logs[2:]]
        loss = losses.make(losses.configure(name))
        found = loss(PairLogProbs(*policy, *known, *counts))
        assert torch.isfinite(found).all()
        slopes = torch.autograd.grad(found.sum(), policy, materialize_grads=True)
        assert all(torch.isfinite(slope).all() for slope in slopes)
        if name not in ("ipo", "kto", "kto_pair", "sppo", "apo_down", "nca", "discopop", "exo"):
            assert float(slopes[0]) <= 0 <= float(slopes[1])


def test_flipped_labels_must_be_few() -> None:
    with pytest.raises(SettingsError, match=r"set it below \.5"):
        losses.get("robust_dpo")(PAIR, label_smoothing=0.5)


@pytest.mark.row(46, "edits")
@pytest.mark.row(42, "chosen")
def test_chosen_answers_that_differ_little_from_rejected_ones(figure) -> None:
    """One word apart, and words after it shared: DPO makes the chosen ones less likely, the others do not."""
    from herd.align.dpo import reference_log_probs
    from herd.core.records import Conversation, Message, Preference
    from herd.run.executors import LocalExecutor
    from herd.train.checkpoint import TrainState
    from herd.train.loop import single_device, train_steps
    from herd.train.optimizer import AdamWSettings, adamw

    def one(number: int) -> Preference:
        said = ["hello there system user assistant Tools " * 2, "there there system user assistant Tools " * 2]
        answers = [(Message("assistant", f"{text}{number % 7}"),) for text in said]
        prompt = Conversation((Message("user", f"{number}"),))
        return Preference(prompt=prompt, chosen=answers[0], rejected=answers[1])

    def trained(made, pairs, loss, rate: float, epochs: int) -> None:
        batches = PreferenceBatches(pairs, size=16, epochs=epochs, seed=0, pad=TOKENIZER.pad_id, length=64)
        state = TrainState(made, adamw(made, AdamWSettings(weight_decay=0.0)))
        hands = single_device(state, LocalExecutor())
        for _ in train_steps(
            state, batches, loss_fn=loss, lr_schedule=lambda step: rate, max_grad_norm=1.0, strategy=hands
        ):
            pass

    pairs = encode_preferences([one(number) for number in range(48)], FORM, context=64).preferences
    swapped = [replace(pair, number=48 + pair.number, answers=pair.answers[::-1]) for pair in pairs]
    knows_both = model(replace(SMALL, vocab_size=TOKENIZER.vocab_size))
    trained(knows_both, pairs + swapped, objective(lambda given: 0 * given.margin, torch.zeros(96, 2), 1.0), 3e-3, 20)
    before, moved = reference_log_probs(knows_both, pairs, TOKENIZER.pad_id), {}
    for name, use, nll in (
        ("dpo", losses.configure("dpo", beta=0.1), 0.0),
        ("dpo with NLL", losses.configure("dpo", beta=0.1), 0.2),
        ("dpop", losses.configure("dpop", beta=0.1, weight=50.0), 0.0),
    ):
        made = copy.deepcopy(knows_both)
        trained(made, pairs, objective(losses.make(use), before, nll), 1e-3, 20)
        moved[name] = (reference_log_probs(made, pairs, TOKENIZER.pad_id) - before).mean(0).tolist()
    figure(", ".join(f"{name} {chosen:+.2f} nats" for name, (chosen, _) in moved.items()))
    assert moved["dpo"][0] < 0
    assert all(chosen > rejected for chosen, rejected in moved.values())
    assert moved["dpo with NLL"][0] > 0
    assert moved["dpop"][0] > 0


@pytest.mark.row(42, "units")
def test_dpo_has_its_unit_values(figure) -> None:
    # log p(policy) - log p(reference) of 0.5 and -0.5 at beta 0.1; with 0.2 x 1.2 nats per token added.
    value = float(losses.get("dpo")(ratios(0.5, -0.5), beta=0.1)[0])
    figure(f"{value:.8f}")
    assert value == pytest.approx(math.log(1 + math.exp(-0.1)), abs=1e-7)
    assert value == pytest.approx(0.64439666, abs=1e-7)
    assert value + 0.2 * 1.2 == pytest.approx(0.88439666, abs=1e-7)


def test_dpo_is_log_two_at_the_reference() -> None:
    assert float(losses.get("dpo")(ratios(0.0, 0.0), beta=0.3)) == pytest.approx(math.log(2))


@given(st.floats(-20, 20), st.floats(-20, 20), st.floats(0.01, 1))
def test_dpo_falls_as_the_chosen_answer_gains(chosen: float, rejected: float, beta: float) -> None:
    def at(value: float) -> float:
        return float(losses.get("dpo")(ratios(value, rejected), beta=beta))

    assert at(chosen + 0.5) < at(chosen)


@pytest.mark.row(42, "mask")
def test_the_objective_adds_the_likelihood_and_leaves_headers_alone(figure) -> None:
    made = model(replace(SMALL, vocab_size=TOKENIZER.vocab_size))
    pairs = encode_preferences([preference(n) for n in range(4)], FORM, context=64).preferences
    batch = PreferenceBatches(pairs, size=4, epochs=1, seed=0, pad=TOKENIZER.pad_id, length=64).batch(0)
    from herd.align.dpo import completion_log_probs, reference_log_probs

    reference = reference_log_probs(made, pairs, TOKENIZER.pad_id)
    plain, _ = objective(losses.make(losses.configure("dpo")), reference, 0.0)(made, batch)
    held, sums = objective(losses.make(losses.configure("dpo")), reference, 0.2)(made, batch)
    assert plain.item() == pytest.approx(4 * math.log(2), rel=1e-5)
    chosen, _ = completion_log_probs(made, batch.packed).view(-1, 2).T
    nll = (-chosen / batch.packed.lengths.view(-1, 2)[:, 0]).sum().item()
    assert held.item() == pytest.approx(plain.item() + 0.2 * nll, rel=1e-5)
    assert sums["rewards/margins"] == pytest.approx(0, abs=1e-4)
    assert sums["logps/chosen"] == pytest.approx(float(chosen.detach().sum()), rel=1e-5)
    assert sums["preference"] == pytest.approx(4 * math.log(2), rel=1e-5)
    figure("likelihood term and mask as written")
