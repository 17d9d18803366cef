"""No weight and no field is left out in silence: each back-end and each reader accounts for what it is handed."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from herd.core.errors import ArtifactError, HerdError, SettingsError, TrainingError
from herd.generate.engine import Engine, SamplingParams
from herd.model import accounting, gguf, meta, weights
from herd.model.fused import fusable
from herd.model.heads import RewardModel
from herd.model.packed import PackedModel, packable
from herd.model.sizes import Size
from herd.model.streamed import StreamedModel
from herd.model.transformer import RMSNorm, Transformer, check_eager
from herd.train.checkpoint import TrainState, restore, save
from herd.train.compute import ComputeContext
from herd.train.optimizer import AdamWSettings, adamw
from herd.train.settings import FP32
from tests.model.test_formats import saved
from tests.model.test_gguf import written
from tests.model.test_meta import as_meta
from tests.model.test_transformer import SMALL, ids, model

ABSURD = (10**9, 10**18, -3, 0, "x", 2.5, float("nan"), 1e30, [], {})


# ---- back-ends ----


def biased(path: str) -> Transformer:
    """A model with a bias beside one matrix, which matters."""
    made = model()
    parent, _, name = path.rpartition(".")
    old = made.get_submodule(path)
    assert isinstance(old, nn.Linear)
    new = nn.Linear(old.in_features, old.out_features)
    new.weight.data.copy_(old.weight.data)
    nn.init.constant_(new.bias, 3.0)
    setattr(made.get_submodule(parent), name, new)
    return made


@pytest.mark.parametrize("path", ["blocks.0.attention.query", "blocks.1.attention.output", "blocks.1.feed_forward.up"])
def test_a_bias_is_named_or_read_by_every_back_end(path: str) -> None:
    made, plain = biased(path), model()
    assert packable(plain)
    assert fusable(plain)
    assert not packable(made)
    assert not fusable(made)
    for back_end, kind in (("packed", PackedModel), ("streaming", StreamedModel)):
        with pytest.raises(
            ArtifactError, match=rf"{path}\.bias is a bias, which the {back_end} back-end does not read"
        ):
            kind(made)
    # What chooses a back-end takes one that reads it.
    (found,) = Engine(made, frozenset()).generate([[3, 4, 5]], SamplingParams(max_tokens=4))
    tokens = [3, 4, 5]
    for token in found.token_ids:
        with torch.inference_mode():
            assert token == int(made(torch.tensor([tokens]))[0, -1].argmax())
        tokens.append(token)
    quick = ComputeContext(made, FP32)
    with torch.inference_mode(), quick:
        assert torch.allclose(made(ids(1, 9)), biased(path)(ids(1, 9)), atol=1e-5)


@pytest.mark.parametrize(("where", "name"), [("blocks.0.attention", "q_norm"), ("norm", "bias"), ("", "output.bias")])
def test_what_not_even_the_plain_model_reads_is_refused_at_load(where: str, name: str) -> None:
    made = biased("output") if name == "output.bias" else model()
    if name == "q_norm":
        made.get_submodule(where).add_module(name, RMSNorm(4, 1e-5))
    elif name == "bias":
        made.get_submodule(where).register_parameter(name, nn.Parameter(torch.ones(4)))
    full = f"{where}.{name}".strip(".")
    for load in (check_eager, lambda one: Engine(one, frozenset()), lambda one: ComputeContext(one, FP32)):
        with pytest.raises(ArtifactError, match=rf"{full} is .*, which a \w+ does not read"):
            load(made)


def test_a_reward_models_parts_are_all_read() -> None:
    check_eager(RewardModel(SMALL))


def test_a_checkpoints_weight_that_the_model_has_not_is_refused(tmp_path: Path) -> None:
    made = biased("blocks.0.attention.key")
    save(tmp_path, TrainState(made, adamw(made, AdamWSettings())))
    plain = model()
    with pytest.raises(TrainingError, match=r"holds weight/blocks\.0\.attention\.key\.bias"):
        restore(tmp_path, TrainState(plain, adamw(plain, AdamWSettings())))


# ---- GGUF ----


@pytest.mark.parametrize(
    ("name", "what"),
    [
        ("blk.0.attn_norm.bias", "a bias"),
        ("blk.1.attn_q_norm.weight", "a norm of queries and keys"),
        ("blk.0.ffn_gate_inp.weight", "a mixture of experts"),
        ("rope_factors_long.weight", "a table of rotary speeds"),
        ("blk.0.attn_sinks.weight", "attention sinks"),
        ("of_no_known_kind.weight", "a tensor of another kind"),
    ],
)
def test_a_tensor_that_is_not_read_is_refused_by_its_name(name: str, what: str, tmp_path: Path) -> None:
    file = written(tmp_path / "m.gguf", {}, {name: np.ones(SMALL.dim, np.float32)})
    with pytest.raises(ArtifactError, match=rf"{name} \({what}\), which the model it describes has no place for"):
        gguf.open_gguf(file)


@pytest.mark.parametrize("count", [10**9, 1, 0])
def test_a_count_of_layers_in_gguf_is_compared_with_the_tensors(count: int, tmp_path: Path, no_names: None) -> None:
    file = written(tmp_path / "m.gguf", {"llama.block_count": count}, {})
    with pytest.raises(ArtifactError, match=f"says {count:,} layers and the weights have {SMALL.n_layers}|layers is 0"):
        gguf.open_gguf(file)


# ---- Hugging Face ----


def changed(folder: Path, **values: Any) -> Path:
    folder.mkdir()
    saved(folder, model())
    file = folder / "config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | values))
    return folder


@pytest.fixture
def no_names(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tables of all names may be made for as many layers as there are, and for no more."""

    def counted(make: Callable[..., Any]) -> Callable[..., Any]:
        def checked(*given: Any, **how: Any) -> Any:
            layers = given[0] if isinstance(given[0], int) else given[0].n_layers
            assert layers == SMALL.n_layers, "names of layers that are not there are made"
            return make(*given, **how)

        return checked

    for module, name in (
        (weights, "weight_names"),
        (weights, "weight_shapes"),
        (gguf, "weight_names"),
        (meta, "weight_names"),
    ):
        monkeypatch.setattr(module, name, counted(getattr(module, name)))


NUMBERS = ("num_hidden_layers", "vocab_size", "hidden_size", "intermediate_size", "num_attention_heads")


@pytest.mark.parametrize("field", [*NUMBERS, "num_key_value_heads", "max_position_embeddings", "head_dim"])
def test_absurd_numbers_are_refused_before_anything_is_made(field: str, tmp_path: Path, no_names: None) -> None:
    for number, value in enumerate(ABSURD):
        folder = changed(tmp_path / str(number), **{field: value})
        for read in (weights.open_folder, weights.load_model):
            with pytest.raises(HerdError) as told:
                read(folder)
            assert str(folder) in str(told.value), (field, value)


def test_a_foreign_tensor_in_a_folder_is_named(tmp_path: Path) -> None:
    saved(tmp_path, model())
    file = tmp_path / "model.safetensors"
    save_file(load_file(file) | {"model.layers.0.self_attn.q_proj.bias": torch.ones(4)}, file)
    with pytest.raises(ArtifactError, match=r"self_attn\.q_proj\.bias \(a bias\)"):
        weights.load_model(tmp_path)


# ---- Meta ----


@pytest.mark.parametrize("field", ["n_layers", "dim", "n_heads", "n_kv_heads", "multiple_of", "ffn_dim_multiplier"])
def test_absurd_numbers_in_metas_parameters_are_refused(field: str, tmp_path: Path, no_names: None) -> None:
    as_meta(tmp_path, model(), 1)
    params = json.loads((tmp_path / "params.json").read_text())
    for value in ABSURD:
        if field == "multiple_of" and value == -3:
            continue  # rounds to the same width
        (tmp_path / "params.json").write_text(json.dumps(params | {field: value}))
        with pytest.raises(HerdError) as told:
            list(meta.open_meta_folder(tmp_path).tensors())
        assert str(tmp_path) in str(told.value), (field, value)


def test_what_metas_files_hold_beside_llama_3_is_refused_by_name(tmp_path: Path) -> None:
    as_meta(tmp_path, model(), 1)
    params = json.loads((tmp_path / "params.json").read_text())
    (tmp_path / "params.json").write_text(json.dumps(params | {"moe_args": {"num_experts": 16}}))
    with pytest.raises(ArtifactError, match="moe_args"):
        meta.open_meta_folder(tmp_path)
    (tmp_path / "params.json").write_text(json.dumps(params))
    held = torch.load(tmp_path / "consolidated.00.pth", weights_only=True)
    torch.save(held | {"rope.freqs": torch.ones(4)}, tmp_path / "consolidated.00.pth")
    meta.open_meta_folder(tmp_path)
    torch.save(held | {"layers.0.attention.wq.bias": torch.ones(4)}, tmp_path / "consolidated.00.pth")
    with pytest.raises(ArtifactError, match=r"attention\.wq\.bias \(a bias\)"):
        meta.open_meta_folder(tmp_path)


# ---- recipes ----


def sized(**more: Any) -> Size:
    small: Any = {"dim": 16, "n_layers": 2, "n_heads": 4, "n_kv_heads": 2, "ffn_dim": 32}
    return Size(**{**small, **more})


def test_a_size_that_no_machine_holds_is_refused_before_it_is_made() -> None:
    for field, value in (("n_layers", 10**9), ("ffn_dim", 10**12), ("dim", 4 * 10**9)):
        with pytest.raises(SettingsError, match=r"give a smaller|herd makes up to"):
            Transformer(sized(**{field: value}).shape(vocab_size=64, max_seq_len=8))
    with pytest.raises(SettingsError, match="give a smaller"):
        Transformer(sized().shape(vocab_size=10**12, max_seq_len=8))
    with pytest.raises(SettingsError, match="max_seq_len is 1,000,000,000"):
        sized().shape(vocab_size=64, max_seq_len=10**9)
    with pytest.raises(SettingsError, match="not a multiple of n_kv_heads"):
        sized(n_kv_heads=10**18)
    with pytest.raises(SettingsError, match="finite"):
        sized(norm_eps=float("inf"))
    with torch.device("meta"), pytest.raises(SettingsError, match="herd makes up to"):
        Transformer(sized(n_layers=10**9).shape(vocab_size=64))


def test_features_are_told_by_their_names() -> None:
    assert accounting.describe_tensor("layers.3.mlp.down_proj.bias") == "a bias"
    assert accounting.describe_tensor("blk.0.ffn_up_exps.weight") == "a mixture of experts"
