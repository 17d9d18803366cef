"""Configurations and GGUF files of every family: read, written, and refused by name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from herd.core.errors import ArtifactError, SettingsError
from herd.model import gguf, weights
from herd.model.architecture import Architecture, RopeScaling
from herd.model.config import shape_of
from herd.model.sizes import Shape
from herd.model.transformer import stream_logits
from tests.model.test_accounting import written
from tests.model.test_architecture import FAMILIES, PLAIN, having, ids, model, saved
from tests.model.test_transformer import SMALL

# What llama.cpp has no place for, and why.
NOT_IN_GGUF = {
    "mistral": "a sliding window",
    "mistral with heads of another width": "a sliding window",
    "qwen2 with windows": "a sliding window",
    "qwen3 with windows": "a bias of queries, keys and values, a bias of attention's output, a sliding window",
    "smollm3 with windows": "a sliding window",
    "dynamic": "rope scaling 'dynamic'",
    "yarn with all": "yarn",
}


def as_gguf(folder: Path, shape: Shape) -> Path:
    stored = weights.open_folder(saved(folder / "hf", model(shape)))
    gguf.write(folder / "m.gguf", stored, form="f32", name="small", fields={"tokenizer.ggml.model": "none"})
    return folder / "m.gguf"


@pytest.mark.parametrize("name", FAMILIES)
def test_gguf_there_and_back_or_refused_by_name(name: str, tmp_path: Path) -> None:
    import gguf as library

    shape = FAMILIES[name]
    if name in NOT_IN_GGUF:
        with pytest.raises(SettingsError, match=NOT_IN_GGUF[name]):
            as_gguf(tmp_path, shape)
        return
    file = as_gguf(tmp_path, shape)
    back = gguf.open_file(file)
    assert back.shape == shape
    with torch.inference_mode():
        assert torch.equal(stream_logits(shape, back.read, ids(1, 40)), model(shape)(ids(1, 40)))
    # By llama.cpp's own list of what an architecture's files hold.
    kind = gguf.fields_of(file)["general.architecture"]
    arch = next(number for number, known in library.MODEL_ARCH_NAMES.items() if known == kind)
    known = {library.TENSOR_NAMES[tensor].replace("{bid}", "0") for tensor in library.MODEL_TENSORS[arch]}
    known |= {"rope_factors_long", "rope_factors_short"} if kind == "llama" else set()
    held = {tensor.name for tensor in library.GGUFReader(file).tensors}
    first = {held_name for held_name in held if not held_name.startswith(("blk.1", "blk.2", "blk.3"))}
    assert {one.rpartition(".")[0] for one in first} <= known


@pytest.mark.parametrize("name", ["llama 2", "qwen2", "qwen3"])
def test_transformers_reads_our_gguf_files(name: str, tmp_path: Path) -> None:
    import transformers

    pytest.importorskip("accelerate", reason="transformers reads GGUF with accelerate only, which is not installed")
    file = as_gguf(tmp_path, FAMILIES[name])
    theirs: Any = transformers.AutoModelForCausalLM.from_pretrained(tmp_path, gguf_file=file.name, dtype=torch.float32)
    with torch.inference_mode():
        wanted = model(FAMILIES[name])(ids(1, 40))
        assert (theirs(ids(1, 40)).logits - wanted).abs().max() < 1e-5


def test_layers_without_positions_that_llama_cpp_has_not_are_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="other than every fourth"):
        as_gguf(tmp_path, having(nope_layers=(1,)))


def test_a_factor_without_a_type_is_linear(tmp_path: Path) -> None:
    # As llama.cpp reads it.
    shape = gguf.open_file(written(tmp_path / "m.gguf", {"llama.rope.scaling.factor": 4.0}, {})).shape
    assert shape.rope_scaling == RopeScaling(rope_type="linear", factor=4.0, original_context=SMALL.context)
    assert shape.context == 4 * SMALL.context


def test_a_gguf_of_another_architecture_is_refused_with_those_that_are_read(tmp_path: Path) -> None:
    file = written(tmp_path / "m.gguf", {"general.architecture": "gemma3"}, {})
    with pytest.raises(ArtifactError, match="'gemma3' model; herd reads 'llama', 'qwen2', 'qwen3', 'smollm3', 'olmo2'"):
        gguf.open_file(file)


# ---- configurations as published ----

SIZES: dict[str, Any] = {"vocab_size": 61, "hidden_size": 32, "num_hidden_layers": 8, "num_attention_heads": 4}
SIZES |= {"num_key_value_heads": 2, "intermediate_size": 48, "max_position_embeddings": 64}


def read(model_type: str, **more: Any) -> Shape:
    return shape_of(SIZES | {"model_type": model_type} | more, Path("m"))


def test_what_a_configuration_leaves_out_is_what_transformers_takes() -> None:
    import transformers

    for model_type in ("llama", "mistral", "qwen2", "qwen3", "smollm3", "olmo2"):
        theirs: Any = transformers.AutoConfig.for_model(model_type, pad_token_id=0, **SIZES)
        with torch.device("meta"):
            whole = transformers.AutoModelForCausalLM.from_config(theirs)
        ours = read(model_type)
        assert ours.weights == sum(weight.numel() for weight in whole.parameters()), model_type
        assert ours.rope_theta == theirs.rope_parameters["rope_theta"]
        assert ours.norm_eps == theirs.rms_norm_eps
        assert shape_of(theirs.to_dict(), Path("m")) == ours


def test_windows_are_where_the_fields_say() -> None:
    assert read("mistral", sliding_window=8).architecture == Architecture(sliding_window=8)
    assert read("mistral", sliding_window=64).architecture == Architecture()
    assert read("qwen2", sliding_window=8).architecture == Architecture(qkv_bias=True)  # not used unless it says so
    used = read("qwen2", sliding_window=8, use_sliding_window=True, max_window_layers=6)
    assert used.architecture == Architecture(qkv_bias=True, sliding_window=8, window_layers=(6, 7))
    used = read("smollm3", sliding_window=8, use_sliding_window=True)
    assert used.architecture == Architecture(nope_layers=(3, 7), sliding_window=8, window_layers=(3, 7))
    assert read("smollm3", no_rope_layers=[1] * 7 + [0]).architecture == Architecture(nope_layers=(7,))


def test_scalings_as_others_write_them() -> None:
    linear = read("llama", rope_scaling={"type": "linear", "factor": 4.0})
    assert (linear.context, linear.rope_scaling) == (
        256,
        RopeScaling(rope_type="linear", factor=4.0, original_context=64),
    )
    yarn = {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 16}
    assert read("qwen2", rope_scaling=yarn).context == 64
    assert read("qwen2", rope_scaling=yarn | {"original_max_position_embeddings": 64}).context == 256
    scaled = read("llama", rope_scaling=yarn | {"mscale": 1.0, "mscale_all_dim": 0.5}).rope_scaling
    assert scaled is not None
    assert scaled.magnitude == pytest.approx((0.1 * 1.3862943611 + 1) / (0.05 * 1.3862943611 + 1))
    lists = {"rope_type": "longrope", "short_factor": [1.0] * 4, "long_factor": [2.0] * 4}
    beside = read("llama", rope_scaling=lists, original_max_position_embeddings=16).rope_scaling
    assert beside is not None
    assert (beside.original_context, beside.factor) == (16, 4.0)


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


def test_a_shape_of_a_plain_model_is_what_it_was() -> None:
    assert PLAIN.features == frozenset()
    assert read("llama", head_dim=8) == read("llama")
