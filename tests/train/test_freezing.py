"""Only the weights that patterns name learn, and nothing is computed or kept for the others."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from herd.core.errors import SettingsError
from herd.model.adapters import LoraSettings
from herd.model.heads import RewardModel
from herd.model.transformer import Transformer
from herd.run.executors import LocalExecutor
from herd.train.batches import TokenBatches
from herd.train.checkpoint import TrainState
from herd.train.freezing import check_all_learn, freeze_except, unfrozen_names
from herd.train.layout import ParallelLayout
from herd.train.loop import single_device, train_steps
from herd.train.objectives import next_token_loss
from herd.train.optimizer import OptimizerSettings, build_optimizer
from herd.train.settings import FinetuneSettings, TrainingSettings
from tests.model.test_transformer import SMALL
from tests.train.test_loop import batches as batches
from tests.train.test_loop import state

TIED = replace(SMALL, tied_output=True)


def test_patterns_are_found_anywhere_in_hugging_faces_names() -> None:
    assert unfrozen_names(SMALL, ["^lm_head", r"^model\.norm\.weight$"]) == {"output.weight", "norm.weight"}
    assert unfrozen_names(SMALL, [r"layers\.1\..*q_proj"]) == {"blocks.1.attention.query.weight"}
    gains = {name for name in unfrozen_names(SMALL, ["norm"]) if not name.endswith("norm.weight")}
    assert not gains
    assert unfrozen_names(SMALL, []) == set(dict(Transformer(SMALL).named_parameters()))


def test_a_pattern_that_matches_nothing_is_refused_with_the_nearest_name() -> None:
    with pytest.raises(SettingsError, match=r"'\^lm_haed.weight\$' matches no weight of this model; did you mean 'lm_"):
        unfrozen_names(SMALL, ["norm", "^lm_haed.weight$"])
    with pytest.raises(SettingsError, match=r"valid: lm_head.weight, model.embed_tokens.weight, model.layers.0.input"):
        unfrozen_names(SMALL, ["@"])
    with pytest.raises(SettingsError, match="the output is tied to the embedding; name model.embed_tokens.weight"):
        unfrozen_names(TIED, ["^lm_head"])
    assert unfrozen_names(TIED, ["embed_tokens"]) == {"embedding.weight"}


def test_what_cannot_be_is_refused_by_the_settings() -> None:
    with pytest.raises(SettingsError, match=r"unfrozen_parameters: '\(' is no regular expression"):
        TrainingSettings(lr=1e-3, unfrozen_parameters=("(",))
    with pytest.raises(SettingsError, match="set layout.pipeline to 1"):
        TrainingSettings(lr=1e-3, unfrozen_parameters=("norm",), layout=ParallelLayout(pipeline=2))
    with pytest.raises(SettingsError, match="leave unfrozen_parameters out, or lora"):
        FinetuneSettings(lr=1e-3, unfrozen_parameters=("norm",), lora=LoraSettings())
    with pytest.raises(SettingsError, match="a new model has learnt nothing to keep"):
        check_all_learn(("norm",))
    check_all_learn(())


def test_the_head_of_a_reward_model_learns_whatever_is_frozen() -> None:
    model = RewardModel(SMALL)
    freeze_except(model, SMALL, ["model.norm"])
    learning = {name for name, weight in model.named_parameters() if weight.requires_grad}
    assert learning == {"trunk.norm.weight", "score.weight"}


def test_nothing_is_computed_or_kept_for_frozen_weights(batches: TokenBatches, monkeypatch: pytest.MonkeyPatch) -> None:
    model = state().model
    freeze_except(model, SMALL, ["^lm_head"])
    made = TrainState(model, build_optimizer(model, OptimizerSettings(name="muon")))
    assert not model.hidden_states(torch.zeros(1, 4, dtype=torch.long)).requires_grad
    before = {name: weight.detach().clone() for name, weight in model.named_parameters()}
    strategy = single_device(made, LocalExecutor())
    assert [weight.shape for weight in strategy.weights] == [model.output.weight.shape]

    def refuse(*_: object) -> None:
        raise AssertionError("a block's backward pass was computed")

    monkeypatch.setattr("herd.model.fused._Fused.backward", staticmethod(refuse))
    rows = list(
        train_steps(
            made, batches, loss_fn=next_token_loss, lr_schedule=lambda step: 1e-2, max_grad_norm=1.0, strategy=strategy
        )
    )
    assert rows[-1].loss < rows[0].loss
    changed = {name for name, weight in model.named_parameters() if not torch.equal(weight, before[name])}
    assert changed == {"output.weight"}
    assert list(made.optimizer.state) == [model.output.weight]
    assert [name for name, _ in made.named_tensors() if name.startswith("weight/")] == ["weight/output.weight"]
