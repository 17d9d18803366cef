"""Folders of models that are damaged or not of Llama's kind are told in a sentence."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from herd.core.errors import ArtifactError
from herd.model.heads import RewardModel
from herd.model.weights import load_model, load_transformer, save_model
from tests.model.test_transformer import SMALL, model


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    save_model(tmp_path, model(), bos_token_id=1, eos_token_ids=[2], pad_token_id=0)
    return tmp_path


def change(folder: Path, **values: object) -> None:
    config = json.loads((folder / "config.json").read_text()) | values
    (folder / "config.json").write_text(json.dumps(config))


def test_another_kind_of_model_is_refused(folder: Path) -> None:
    change(folder, model_type="gpt2")
    with pytest.raises(ArtifactError, match="'gpt2' model; herd reads model_type 'llama', 'mistral'"):
        load_model(folder)


def test_weights_of_another_shape_are_refused(folder: Path) -> None:
    change(folder, intermediate_size=64)
    with pytest.raises(ArtifactError, match="belong to different models"):
        load_model(folder)


def test_a_missing_weight_is_named(folder: Path) -> None:
    weights = load_file(folder / "model.safetensors")
    del weights["model.norm.weight"]
    save_file(weights, folder / "model.safetensors")
    with pytest.raises(ArtifactError, match=r"lacks model\.norm\.weight"):
        load_model(folder)


def test_a_cut_file_is_told(folder: Path) -> None:
    file = folder / "model.safetensors"
    file.write_bytes(file.read_bytes()[:1000])
    with pytest.raises(ArtifactError, match="cannot be read"):
        load_model(folder)


def test_a_reward_model_writes_no_text(tmp_path: Path) -> None:
    save_model(tmp_path, RewardModel(SMALL), bos_token_id=1, eos_token_ids=[2], pad_token_id=0)
    assert isinstance(load_model(tmp_path), RewardModel)
    with pytest.raises(ArtifactError, match="reward model, which gives scores"):
        load_transformer(tmp_path)


def test_transformers_reads_a_reward_model_and_agrees(tmp_path: Path) -> None:
    import transformers

    ours = RewardModel(SMALL)
    torch.nn.init.normal_(ours.score.weight, generator=torch.Generator().manual_seed(0))
    save_model(tmp_path, ours, bos_token_id=1, eos_token_ids=[2], pad_token_id=0)
    theirs = transformers.AutoModelForSequenceClassification.from_pretrained(tmp_path, dtype=torch.float32).eval()
    tokens = torch.randint(3, SMALL.vocab_size, (1, 12), generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        assert abs(float(ours(tokens)[0, -1]) - float(theirs(tokens).logits[0, 0])) < 1e-5
