"""What every training lets a recipe say, and what it refuses."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from torch import Tensor

from herd.core.errors import SettingsError
from herd.core.settings import build, dump, merge_settings
from herd.model.transformer import Transformer
from herd.train.layout import ParallelLayout, TrainableParams
from herd.train.optimizer import OptimizerSettings
from herd.train.schedule import warmup_cosine, warmup_stable_decay
from herd.train.settings import ComputeSettings, FinetuneSettings, TrainingSettings, check_one_device, num_ranks
from tests.model.test_transformer import SMALL


def test_products_in_8_bits_stand_beside_bf16() -> None:
    assert ComputeSettings(dtype="bf16", float8=True).float8
    words = "float8 stands beside bf16 products; set dtype to bf16 too"
    with pytest.raises(SettingsError, match=words):
        ComputeSettings(float8=True)
    with pytest.raises(SettingsError, match=words):
        FinetuneSettings(lr=1e-3, float8=True)


def test_the_rate_by_step_is_that_of_the_schedule_named() -> None:
    cosine = TrainingSettings(lr=1e-2, min_lr_ratio=0.1, warmup=0.1).lr_schedule(100)
    wanted = [warmup_cosine(step, peak=1e-2, warmup=10, total=100, floor=0.1) for step in range(100)]
    assert [cosine(step) for step in range(100)] == wanted
    held = TrainingSettings(lr=1e-2, min_lr_ratio=0.2, warmup=5, schedule="wsd", decay_ratio=0.4).lr_schedule(50)
    fall: dict[str, Any] = {"peak": 1e-2, "warmup": 5, "total": 50, "decay_share": 0.4, "floor": 0.2}
    assert [held(step) for step in range(50)] == [warmup_stable_decay(step, **fall) for step in range(50)]


def test_a_rate_left_open_is_given_by_whoever_trains() -> None:
    """A warm-up below one is a share of all steps, one step at least; else it is so many."""
    settings = TrainingSettings(lr=None, schedule="constant", warmup=2)
    rate = settings.lr_schedule(10, lr=4e-3)
    assert [rate(step) for step in range(4)] == [2e-3, 4e-3, 4e-3, 4e-3]
    with pytest.raises(AssertionError):
        settings.lr_schedule(10)
    own = TrainingSettings(lr=1e-3, schedule="constant", warmup=1e-6).lr_schedule(10, lr=5e-3)
    assert own(0) == 5e-3  # what is given by the stage comes first


def test_an_optimizer_is_chosen_by_name_and_adamw_needs_none() -> None:
    """Recipes that name AdamW's numbers alone stand as they did."""
    adamw = build(TrainingSettings, {"lr": 1e-3, "optimizer": {"weight_decay": 0.0}}, where="a recipe").optimizer
    assert (adamw.name, adamw.weight_decay, adamw.beta2) == ("adamw", 0.0, 0.95)
    row = {"name": "muon", "ns_steps": 3, "adamw_lr_ratio": 0.5, "ns_coefficients": [2, -1.5, 0.5]}
    muon = build(TrainingSettings, {"lr": 1e-3, "optimizer": row}, where="a recipe").optimizer
    assert (muon.name, muon.ns_steps, muon.adamw_lr_ratio, muon.ns_coefficients) == ("muon", 3, 0.5, (2.0, -1.5, 0.5))
    over = merge_settings(dump(TrainingSettings(lr=1e-3, optimizer=muon)), {"optimizer": {"name": "adamw"}})
    assert build(TrainingSettings, over, where="a recipe").optimizer == replace(muon, name="adamw")
    for wrong in ({"name": "mu"}, {"momentun": 0.9}, {"momentum": 1.5}, {"adamw_lr_ratio": 0.0}):
        with pytest.raises(SettingsError, match=f"optimizer.{next(iter(wrong))}"):
            build(TrainingSettings, {"lr": 1e-3, "optimizer": wrong}, where="a recipe")


def test_weights_that_learn_are_counted_with_those_of_one_moment() -> None:
    matrices = sum(weight.numel() for name, weight in small_weights() if "blocks" in name and weight.dim() == 2)
    assert TrainingSettings(lr=None).trainable_params(SMALL) == TrainableParams(SMALL.num_params)
    muon = OptimizerSettings(name="muon")
    assert TrainingSettings(lr=None, optimizer=muon).trainable_params(SMALL).one_moment == matrices
    partly = TrainingSettings(lr=None, optimizer=muon, unfrozen_parameters=("lm_head",)).trainable_params(SMALL)
    assert partly == TrainableParams(SMALL.vocab_size * SMALL.dim, 0)
    assert partly.moments == 2 * partly.trained


def small_weights() -> list[tuple[str, Tensor]]:
    return list(Transformer(SMALL).named_parameters())


def test_a_stage_wants_as_many_ranks_as_its_layout_has_devices() -> None:
    layout = ParallelLayout(tensor=2, pipeline=3, data=2)
    assert num_ranks(ComputeSettings(layout=layout)) == 12
    assert num_ranks(ComputeSettings(), other=1) == 1
    check_one_device(ParallelLayout())
    with pytest.raises(SettingsError, match="trained on one device; leave layout out"):
        check_one_device(layout)


@pytest.mark.parametrize(("name", "value"), [("lr", 0.0), ("batch_size", 0), ("min_lr_ratio", 1.5), ("epochs", 0)])
def test_numbers_out_of_range_are_refused_by_name(name: str, value: float) -> None:
    row: dict[str, Any] = {"lr": 1e-3} | {name: value}
    with pytest.raises(SettingsError, match=name):
        FinetuneSettings(**row)
