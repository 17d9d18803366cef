"""Configurations of Hugging Face's models: read as transformers reads them, refused by field, and written back."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from herd.core.errors import ArtifactError, SettingsError
from herd.model import weights
from herd.model.architecture import RopeScaling
from herd.model.config import config_from_shape, read_config, read_shape, shape_from_config
from herd.model.sizes import Shape
from tests.model.test_accounting import changed
from tests.model.test_architecture import FAMILIES, having
from tests.model.test_transformer import SMALL


@pytest.mark.parametrize("reward", [False, True])
@pytest.mark.parametrize("name", FAMILIES)
def test_a_shape_comes_back_from_its_configuration(name: str, reward: bool, tmp_path: Path) -> None:
    config = config_from_shape(FAMILIES[name], reward=reward, dtype="bfloat16")
    (tmp_path / "config.json").write_text(json.dumps(config))
    assert read_shape(tmp_path) == FAMILIES[name]
    assert config["torch_dtype"] == "bfloat16"
    assert config["architectures"][0].endswith("ForSequenceClassification" if reward else "ForCausalLM")
    assert config.get("num_labels") == (1 if reward else None)


@given(st.integers(1, 4), st.integers(1, 4), st.integers(1, 8), st.booleans(), st.floats(1.0, 64.0))
def test_any_plain_shape_comes_back(layers: int, groups: int, half: int, tied: bool, factor: float) -> None:
    shape = Shape(
        vocab_size=61, dim=4 * groups * half, n_layers=layers, n_heads=2 * groups, n_kv_heads=groups, ffn_dim=48,
        max_seq_len=64, tied_output=tied, rope_scaling=RopeScaling(factor=factor, original_max_position_embeddings=16),
    )  # fmt: skip
    assert (
        shape_from_config(json.loads(json.dumps(config_from_shape(shape, reward=False, dtype="float32"))), Path("m"))
        == shape
    )


def test_a_folder_without_a_configuration_is_told(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match=r"holds no config\.json; name the folder of a model"):
        read_config(tmp_path)
    file = tmp_path / "config.json"
    file.write_text("{")
    with pytest.raises(ArtifactError, match="is not JSON"):
        read_config(tmp_path)
    file.write_text("[]")
    with pytest.raises(ArtifactError, match="holds no configuration"):
        read_shape(tmp_path)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"rope_parameters": [1]}, "rope_parameters is .*; it should be a table"),
        ({"rope_scaling": {"rope_type": "linear"}}, "linear scaling of positions has no factor"),
        ({"hidden_size": "wide"}, r"hidden_size|dim|number that is none"),
        ({"hidden_size": 30}, "try dim 32"),
    ],
)
def test_what_cannot_be_read_is_told_with_its_file(fields: dict[str, Any], words: str) -> None:
    with pytest.raises(ArtifactError, match=words) as told:
        read("llama", **fields)
    assert "m" in str(told.value)


def test_a_number_that_is_missing_is_named() -> None:
    with pytest.raises(ArtifactError, match="has no 'intermediate_size'"):
        shape_from_config(
            {"model_type": "llama"} | {k: v for k, v in SIZES.items() if k != "intermediate_size"}, Path("m")
        )


SIZES: dict[str, Any] = {"vocab_size": 61, "hidden_size": 32, "num_hidden_layers": 8, "num_attention_heads": 4}
SIZES |= {"num_key_value_heads": 2, "intermediate_size": 48, "max_position_embeddings": 64}


def read(model_type: str, **more: Any) -> Shape:
    return shape_from_config(SIZES | {"model_type": model_type} | more, Path("m"))


def test_what_a_configuration_leaves_out_is_what_transformers_takes() -> None:
    import transformers

    for model_type in ("llama", "mistral", "qwen2", "qwen3", "smollm3", "olmo2"):
        theirs: Any = transformers.AutoConfig.for_model(model_type, pad_token_id=0, **SIZES)
        with torch.device("meta"):
            whole = transformers.AutoModelForCausalLM.from_config(theirs)
        ours = read(model_type)
        assert ours.num_params == sum(weight.numel() for weight in whole.parameters()), model_type
        assert ours.rope_theta == theirs.rope_parameters["rope_theta"]
        assert ours.norm_eps == theirs.rms_norm_eps
        assert shape_from_config(theirs.to_dict(), Path("m")) == ours


def test_scalings_as_others_write_them() -> None:
    linear = read("llama", rope_scaling={"type": "linear", "factor": 4.0})
    assert (linear.max_seq_len, linear.rope_scaling) == (
        256,
        RopeScaling(rope_type="linear", factor=4.0, original_max_position_embeddings=64),
    )
    yarn = {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 16}
    assert read("qwen2", rope_scaling=yarn).max_seq_len == 64
    assert read("qwen2", rope_scaling=yarn | {"original_max_position_embeddings": 64}).max_seq_len == 256
    scaled = read("llama", rope_scaling=yarn | {"mscale": 1.0, "mscale_all_dim": 0.5}).rope_scaling
    assert scaled is not None
    assert scaled.attention_scaling == pytest.approx((0.1 * 1.3862943611 + 1) / (0.05 * 1.3862943611 + 1))
    lists = {"rope_type": "longrope", "short_factor": [1.0] * 4, "long_factor": [2.0] * 4}
    beside = read("llama", rope_scaling=lists, original_max_position_embeddings=16).rope_scaling
    assert beside is not None
    assert (beside.original_max_position_embeddings, beside.factor) == (16, 4.0)


@pytest.mark.parametrize(
    ("model_type", "field", "value"),
    [
        ("mistral", "attention_bias", True),
        ("qwen2", "mlp_bias", True),
        ("qwen3", "no_rope_layers", [0] * 8),
        ("olmo2", "sliding_window", 8),
        ("llama", "layer_types", ["sliding_attention"] * 8),
        ("mistral", "layer_types", ["chunked_attention"] * 8),
    ],
)
def test_a_feature_that_a_family_has_not_is_refused_by_its_field(model_type: str, field: str, value: Any) -> None:
    with pytest.raises(ArtifactError, match=field):
        read(model_type, **{field: value})


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("clip_qkv", 8.0),
        ("hidden_act", "gelu"),
        ("sliding_window", 8),
        ("layer_types", ["sliding_attention", "full_attention"]),
        ("partial_rotary_factor", 0.5),
        ("rope_parameters", {"rope_type": "default", "partial_rotary_factor": 0.5}),
        ("rope_scaling", {"type": "other", "factor": 2.0}),
        ("rope_parameters", {"rope_type": "proportional", "rope_theta": 1e4}),
        ("logit_scale", 0.0625),
        ("logits_scaling", 8.0),
        ("embedding_multiplier", 12.0),
        ("residual_multiplier", 0.22),
        ("attention_multiplier", 0.01),
        ("attn_logit_softcapping", 50.0),
        ("final_logit_softcapping", 30.0),
        ("norm_type", "layernorm"),
        ("qk_norm", True),
        ("num_local_experts", 8),
        ("quantization_config", {"quant_method": "gptq"}),
    ],
)
def test_a_field_of_a_configuration_that_changes_the_function_is_named(field: str, value: Any, tmp_path: Path) -> None:
    said = "partial_rotary_factor" if isinstance(value, dict) and "partial_rotary_factor" in value else field
    said = "rope_scaling" if field == "rope_parameters" and said == field else said
    with pytest.raises(ArtifactError, match=said):
        weights.open_folder(changed(tmp_path / "m", **{field: value}))


def test_neutral_fields_of_a_configuration_are_let_pass(tmp_path: Path) -> None:
    neutral = {"attention_bias": False, "sliding_window": None, "rope_scaling": None, "head_dim": None}
    neutral |= {"partial_rotary_factor": 1.0, "layer_types": ["full_attention"] * 2, "logit_scale": 1.0}
    neutral |= {"pretraining_tp": 1, "attention_dropout": 0.0, "use_cache": True, "num_key_value_heads": 2}
    assert weights.open_folder(changed(tmp_path / "m", **neutral)).shape == SMALL


def test_a_shape_that_no_family_has_is_not_written() -> None:
    with pytest.raises(SettingsError, match="a norm of queries and keys by head, norms after attention"):
        config_from_shape(having(qk_norm="head", post_norm=True), reward=False, dtype="float32")
    with pytest.raises(SettingsError, match="no model_type of transformers computes a bias of attention's output"):
        config_from_shape(having(output_bias=True), reward=False, dtype="float32")
