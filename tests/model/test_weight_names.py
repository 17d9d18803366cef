"""Every weight has one name in every layout, the layer it is of can be told from it, and its shape is the model's."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
import torch

from herd.model.architecture import Architecture
from herd.model.sizes import Shape
from herd.model.transformer import Transformer
from herd.model.weight_names import (
    LAYER_PATTERNS,
    WeightLayout,
    meta_shard_dims,
    weight_names,
    weight_shapes,
    weight_specs,
)
from tests.model.test_architecture import FAMILIES, PLAIN

LAYOUTS: tuple[WeightLayout, ...] = ("hugging_face", "gguf", "meta")


@pytest.mark.parametrize("name", FAMILIES)
def test_names_are_those_of_the_model_and_no_two_are_one(name: str) -> None:
    shape = FAMILIES[name]
    with torch.device("meta"):
        own = {key: tuple(weight.shape) for key, weight in Transformer(shape).state_dict().items()}
    assert weight_shapes(shape) == own
    for layout in ("hugging_face", "gguf"):
        table = weight_names(shape, layout)
        assert list(table) == list(weight_shapes(shape))
        assert len(set(table.values())) == len(table)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_layers_number_is_found_in_its_weights_names_and_in_no_others(layout: WeightLayout) -> None:
    shape = replace(PLAIN, n_layers=12)
    for ours, theirs in weight_names(shape, layout).items():
        found = re.match(LAYER_PATTERNS[layout], theirs)
        layer = re.match(r"blocks\.(\d+)\.", ours)
        assert (found and found[1]) == (layer and layer[1])


def test_transformers_own_names_are_these() -> None:
    import transformers

    shape = FAMILIES["qwen3"]
    config = transformers.AutoConfig.for_model(
        "qwen3", vocab_size=61, hidden_size=32, num_hidden_layers=4, num_attention_heads=4, num_key_value_heads=2,
        intermediate_size=48, head_dim=12,
    )  # fmt: skip
    with torch.device("meta"):
        theirs = {
            name: tuple(one.shape)
            for name, one in transformers.AutoModelForCausalLM.from_config(config).named_parameters()
        }
    table, own = weight_names(shape, "hugging_face"), weight_shapes(shape)
    assert {table[name]: size for name, size in own.items()} == {
        k: v for k, v in theirs.items() if k != "lm_head.weight"
    }


def test_metas_ranks_hold_parts_that_make_the_whole() -> None:
    cuts, shapes, table = meta_shard_dims(PLAIN), weight_shapes(PLAIN), weight_names(PLAIN, "meta")
    assert set(cuts) == set(table.values())
    for ours, theirs in table.items():
        cut = cuts[theirs]
        assert (cut is None) == (len(shapes[ours]) == 1)
        # What a product sums over is cut where its input was: each rank adds its part.
        assert cut == (None if cut is None else int(ours.endswith(("attention.output.weight", "down.weight"))))


def test_a_norm_that_meta_has_no_name_for_is_no_layout_of_metas() -> None:
    shape: Shape = replace(PLAIN, architecture=Architecture(qk_norm="head"))
    with pytest.raises(AssertionError, match=r"meta has no name for attention\.query_norm"):
        weight_names(shape, "meta")
    assert sum(layer is None for layer, _ in weight_specs(replace(shape, tied_output=True))) == 2
