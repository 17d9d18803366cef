"""GGUF files: there and back, and what would change the function is refused by its key."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from herd.core.errors import ArtifactError, SettingsError
from herd.model import gguf, weights
from herd.model.architecture import RopeScaling
from herd.model.transformer import stream_logits
from tests.model.test_formats import LONG, TIED, saved
from tests.model.test_transformer import SMALL, ids, model


def test_a_form_that_is_none_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    stored = weights.open_folder(saved(tmp_path, model()))
    with pytest.raises(SettingsError, match="'q4_0' is no form of weights; choose one of f32, f16, bf16, q8_0"):
        gguf.write_gguf(tmp_path / "m.gguf", stored, weight_format="q4_0", name="small", fields={})
    assert not (tmp_path / "m.gguf").exists()


def test_norms_stay_whole_and_rows_that_do_not_fill_a_block_are_halved(tmp_path: Path) -> None:
    import gguf as library

    shape = replace(SMALL, dim=64, ffn_dim=48)
    stored = weights.open_folder(saved(tmp_path, model(shape)))
    gguf.write_gguf(tmp_path / "m.gguf", stored, weight_format="q8_0", name="small", fields={})
    kinds = {one.name: one.tensor_type.name for one in library.GGUFReader(tmp_path / "m.gguf").tensors}
    assert kinds["blk.0.attn_norm.weight"] == "F32"
    assert kinds["blk.0.ffn_gate.weight"] == "Q8_0"
    assert kinds["blk.0.ffn_down.weight"] == "F16"  # rows of 48


def test_fields_of_every_kind_are_read_as_they_were_written(tmp_path: Path) -> None:
    stored = weights.open_folder(saved(tmp_path, model()))
    fields = {"a.bool": True, "a.number": 7, "a.text": "ü", "a.list": ["x", "y"]}
    gguf.write_gguf(tmp_path / "m.gguf", stored, weight_format="f32", name="small", fields=fields)
    found = gguf.read_fields(tmp_path / "m.gguf")
    assert {key: found[key] for key in fields} == fields
    assert found["general.name"] == "small"


def test_factors_that_are_not_llama_3_1s_are_refused(tmp_path: Path) -> None:
    file = written(tmp_path / "m.gguf", {}, {"rope_freqs.weight": np.array([1.0, 2.0, 3.0, 4.0], np.float32)})
    with pytest.raises(ArtifactError, match=r"rope_freqs\.weight are not those of Llama 3\.1's scaling"):
        gguf.open_gguf(file)


@pytest.mark.parametrize(
    ("fields", "words"), [({"general.type": "adapter"}, "general.type is 'adapter'"), ({"split.count": 2}, "merge the")]
)
def test_what_is_no_whole_model_is_refused(fields: dict[str, Any], words: str, tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match=words):
        gguf.open_gguf(written(tmp_path / "m.gguf", fields, {}))


@pytest.mark.parametrize("form", ["f32", "f16", "bf16", "q8_0"])
@pytest.mark.parametrize("shape", [SMALL, TIED, replace(LONG, dim=64, ffn_dim=96)])
def test_gguf_there_and_back(shape, form: str, tmp_path: Path) -> None:
    ours = model(shape)
    stored = weights.open_folder(saved(tmp_path, ours))
    file = tmp_path / "model.gguf"
    gguf.write_gguf(file, stored, weight_format=form, name="small", fields={"tokenizer.ggml.model": "none"})
    back = gguf.open_gguf(file)
    assert back.shape == shape
    with torch.inference_mode():
        found = stream_logits(shape, back.read, ids(1, 12))
        difference = (found - ours(ids(1, 12))).abs().max() / ours(ids(1, 12)).abs().max()
    assert difference <= {"f32": 0.0, "f16": 3e-3, "bf16": 3e-2, "q8_0": 0.15}[form]


def test_a_gguf_of_another_kind_or_cut_is_told(tmp_path: Path) -> None:
    (tmp_path / "a.gguf").write_bytes(b"GGUF")
    with pytest.raises(ArtifactError, match="no whole GGUF file"):
        gguf.open_gguf(tmp_path / "a.gguf")


def written(file: Path, fields: dict[str, Any], tensors: dict[str, np.ndarray]) -> Path:
    """A GGUF file of a small model with these fields over its own, and these tensors beside them."""
    folder = file.parent / f"{file.stem}-folder"
    folder.mkdir()
    stored = weights.open_folder(saved(folder, model()))
    original = gguf._tensors
    patch = pytest.MonkeyPatch()
    library = gguf._library()
    old = library.GGUFWriter.add_key_value

    def add_key_value(self: Any, key: str, value: Any, kind: Any, **rest: Any) -> None:
        old(self, key, fields.pop(key, value), kind, **rest)

    with patch.context() as patched:
        patched.setattr(library.GGUFWriter, "add_key_value", add_key_value)
        patched.setattr(gguf, "_tensors", lambda one: [*original(one), *tensors.items()])
        patched.setattr(gguf, "_add_field", typed)
        more = {name: value for name, value in fields.items() if name not in OWN}
        gguf.write_gguf(file, stored, weight_format="f32", name="small", fields=more)
    return file


OWN = {"llama.rope.dimension_count", "llama.block_count", "llama.attention.head_count", "llama.embedding_length"}


def typed(writer: Any, key: str, value: Any) -> None:
    add = {bool: writer.add_bool, int: writer.add_uint32, str: writer.add_string, float: writer.add_float32}
    add[type(value)](key, value)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("rope.scaling.type", "other"),
        ("rope.scaling.yarn_ext_factor", 0.5),
        ("rope.scale_linear", 4.0),
        ("rope.scaling.attn_factor", 0.5),
        ("rope.dimension_count", 4),
        ("attention.value_length", 16),
        ("attention.sliding_window", 16),
        ("attention.scale", 1.0),
        ("attention.causal", False),
        ("logit_scale", 0.25),
        ("residual_scale", 0.5),
        ("embedding_scale", 12.0),
        ("expert_count", 8),
        ("something.new", 3),
    ],
)
def test_a_field_that_changes_the_function_is_refused_by_its_key(key: str, value: Any, tmp_path: Path) -> None:
    fields = {f"llama.{key}": value}
    file = written(tmp_path / "m.gguf", fields, {})
    with pytest.raises(ArtifactError, match=rf"llama\.{key} is .*, which herd does not compute"):
        gguf.open_gguf(file)


def test_fields_that_change_nothing_are_let_pass(tmp_path: Path) -> None:
    width = SMALL.head_dim
    fields = {"rope.scaling.type": "none", "rope.scaling.factor": 4.0, "attention.key_length": width}
    fields |= {"attention.value_length": width, "attention.sliding_window": SMALL.max_seq_len, "logit_scale": 1.0}
    file = written(tmp_path / "m.gguf", {f"llama.{key}": value for key, value in fields.items()}, {})
    assert gguf.open_gguf(file).shape == SMALL


def test_a_factor_without_a_type_is_linear(tmp_path: Path) -> None:
    # As llama.cpp reads it.
    shape = gguf.open_gguf(written(tmp_path / "m.gguf", {"llama.rope.scaling.factor": 4.0}, {})).shape
    assert shape.rope_scaling == RopeScaling(
        rope_type="linear", factor=4.0, original_max_position_embeddings=SMALL.max_seq_len
    )
    assert shape.max_seq_len == 4 * SMALL.max_seq_len


def test_a_gguf_of_another_architecture_is_refused_with_those_that_are_read(tmp_path: Path) -> None:
    file = written(tmp_path / "m.gguf", {"general.architecture": "gemma3"}, {})
    with pytest.raises(ArtifactError, match="'gemma3' model; herd reads 'llama', 'qwen2', 'qwen3', 'smollm3', 'olmo2'"):
        gguf.open_gguf(file)
