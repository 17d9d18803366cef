"""Configurations and GGUF files of every family: read, written, and refused by name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from herd.core.errors import SettingsError
from herd.model import gguf, weights
from herd.model.architecture import Architecture
from herd.model.sizes import Shape
from herd.model.transformer import stream_logits
from tests.model.test_architecture import FAMILIES, PLAIN, having, ids, model, saved
from tests.model.test_config import read

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
    gguf.write_gguf(
        folder / "m.gguf", stored, weight_format="f32", name="small", fields={"tokenizer.ggml.model": "none"}
    )
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
    back = gguf.open_gguf(file)
    assert back.shape == shape
    with torch.inference_mode():
        assert torch.equal(stream_logits(shape, back.read, ids(1, 40)), model(shape)(ids(1, 40)))
    # By llama.cpp's own list of what an architecture's files hold.
    kind = gguf.read_fields(file)["general.architecture"]
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


# ---- configurations as published ----


def test_windows_are_where_the_fields_say() -> None:
    assert read("mistral", sliding_window=8).architecture == Architecture(sliding_window=8)
    assert read("mistral", sliding_window=64).architecture == Architecture()
    assert read("qwen2", sliding_window=8).architecture == Architecture(qkv_bias=True)  # not used unless it says so
    used = read("qwen2", sliding_window=8, use_sliding_window=True, max_window_layers=6)
    assert used.architecture == Architecture(qkv_bias=True, sliding_window=8, window_layers=(6, 7))
    used = read("smollm3", sliding_window=8, use_sliding_window=True)
    assert used.architecture == Architecture(nope_layers=(3, 7), sliding_window=8, window_layers=(3, 7))
    assert read("smollm3", no_rope_layers=[1] * 7 + [0]).architecture == Architecture(nope_layers=(7,))


def test_a_shape_of_a_plain_model_is_what_it_was() -> None:
    assert PLAIN.features == frozenset()
    assert read("llama", head_dim=8) == read("llama")
