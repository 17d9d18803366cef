"""Layouts chosen for a number of devices: every training's, told, and the same whenever they are chosen."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from herd.align.sft import SftSettings
from herd.core.errors import SettingsError
from herd.core.recipe import load_recipe
from herd.core.stage import walk
from herd.pretrain.planning import planned_trainings
from herd.recipes import recipes
from herd.recipes.layouts import _finetuning_layout, choose_layouts
from herd.train.layout import ParallelLayout
from herd.train.machines import load_machine
from tests.smoke import SMOKE

H100 = load_machine("h100")


def test_every_training_that_the_recipe_names_is_spread_and_it_is_told() -> None:
    recipe = load_recipe(str(SMOKE), recipes)
    spread, told = choose_layouts(recipe, 2, H100)
    assert recipe.settings.base.layout == ParallelLayout()
    assert spread.settings.base.layout.devices == spread.settings.anneal.layout.devices == 2
    assert [stage.layout.devices for stage in spread.settings.longer] == [2, 2]
    assert any(line.startswith("base.layout={tensor: ") and "for 2 devices" in line for line in told)
    assert any(line.startswith("longer.1.layout=") for line in told)
    # Batches of fine-tuning are divided: four rows by two.
    assert spread.settings.sft.layout == ParallelLayout(data=2)
    own = planned_trainings(walk(spread.plan()))
    assert {training.settings.layout.devices for training in own} == {1, 2}  # those of the ladder stay alone
    assert choose_layouts(recipe, 2, H100) == (spread, told)
    again, _ = choose_layouts(spread, 2, H100)
    assert again == spread
    assert choose_layouts(recipe, 1, H100)[0] == recipe


def test_devices_that_do_not_share_a_batch_are_refused_or_left_out() -> None:
    recipe = load_recipe(str(SMOKE), recipes)
    with pytest.raises(SettingsError, match="do not share out over this model"):
        choose_layouts(recipe, 7 * 11 * 13, H100)
    odd = load_recipe(str(SMOKE), recipes, ["sft.batch_size=3"])
    spread, told = choose_layouts(odd, 2, H100)
    assert spread.settings.sft.layout == ParallelLayout()
    assert "sft stays on one device: 2 do not share a batch of 3" in told


def test_fine_tuning_keeps_a_layout_of_its_own_that_the_devices_hold() -> None:
    recipe = load_recipe("llama3-8b", recipes)
    spread, told = choose_layouts(recipe, 1024, H100)
    before, after = recipe.settings.alignment, spread.settings.alignment
    assert after.sft.layout == before.sft.layout == ParallelLayout(tensor=8, context=2, data=8)
    assert after.reward.layout == after.dpo.layout == ParallelLayout(data=256)
    assert "alignment.sft keeps its layout of 128 of 1,024 devices" in told
    # Fewer than it wants: fewer share the batch, of a model that is divided as before.
    fewer, told = choose_layouts(recipe, 64, H100)
    assert fewer.settings.alignment.sft.layout == ParallelLayout(tensor=8, context=2, data=4)
    _, why = _finetuning_layout(before.sft, 8)
    assert why == "keeps its own layout, of which one model wants 16 devices and there are 8"


@given(st.integers(1, 300), st.integers(1, 300), st.sampled_from([1, 2, 16]), st.integers(1, 32))
def test_as_many_devices_as_may_be_divide_a_batch(devices: int, batch: int, tensor: int, data: int) -> None:
    own = ParallelLayout(tensor=tensor, data=data)
    batch *= data  # another is refused
    settings = SftSettings(lr=1e-5, batch_size=batch, layout=own)
    layout, _ = _finetuning_layout(settings, devices)
    if tensor > devices or 1 < own.devices <= devices:
        assert layout == own
        return
    assert layout.tensor == tensor
    assert layout.devices <= devices
    assert batch % layout.data == 0
    assert not any(batch % more == 0 for more in range(layout.data + 1, devices // tensor + 1))
