"""Models in and out of other programs' formats keep their logits; what is damaged or foreign is told."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from herd.core.errors import ArtifactError
from herd.model import weights
from herd.model.architecture import RopeScaling
from herd.model.transformer import Transformer
from tests.model.test_transformer import SMALL, ids, model

TIED = replace(SMALL, tied_output=True)
LONG = replace(SMALL, rope_scaling=RopeScaling(factor=8.0, original_max_position_embeddings=16))


def saved(folder: Path, ours: Transformer, **how: Any) -> Path:
    weights.save_model(folder, ours, bos_token_id=1, eos_token_ids=[2], pad_token_id=0, **how)
    return folder


@pytest.mark.parametrize("shape", [SMALL, TIED])
def test_shards_have_an_index_and_load_in_transformers(shape, tmp_path: Path) -> None:
    import transformers

    ours = model(shape)
    saved(tmp_path, ours, shard_bytes=20_000)
    files = sorted(file.name for file in tmp_path.glob("*.safetensors"))
    assert len(files) > 2
    assert files[0] == f"model-00001-of-{len(files):05}.safetensors"
    theirs: Any = transformers.AutoModelForCausalLM.from_pretrained(tmp_path, dtype=torch.float32)
    again = weights.load_transformer(tmp_path)
    with torch.inference_mode():
        assert torch.equal(again(ids(1, 9)), ours(ids(1, 9)))
        assert (theirs(ids(1, 9)).logits - ours(ids(1, 9))).abs().max() < 1e-5


def test_shards_that_disagree_with_their_index_are_refused(tmp_path: Path) -> None:
    saved(tmp_path, model(), shard_bytes=20_000)
    index = json.loads((tmp_path / weights.WEIGHTS_INDEX_FILE).read_text())
    first, *_, last = sorted(set(index["weight_map"].values()))
    moved = {name: last if file == first else file for name, file in index["weight_map"].items()}
    (tmp_path / weights.WEIGHTS_INDEX_FILE).write_text(json.dumps(index | {"weight_map": moved}))
    with pytest.raises(ArtifactError, match="and it is not; fetch index and shards again"):
        weights.load_model(tmp_path)
    (tmp_path / weights.WEIGHTS_INDEX_FILE).write_text(json.dumps(index))
    (tmp_path / first).unlink()
    with pytest.raises(ArtifactError, match=rf"{first} is missing"):
        weights.load_model(tmp_path)
    (tmp_path / weights.WEIGHTS_INDEX_FILE).write_text("[]")
    with pytest.raises(ArtifactError, match="is no index of shards"):
        weights.load_model(tmp_path)
