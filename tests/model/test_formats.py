"""Models in and out of other programs' formats keep their logits; what is damaged or foreign is told."""

from __future__ import annotations

import json
import sys
import types
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from herd.core.errors import ArtifactError
from herd.model import gguf, meta, reference, weights
from herd.model.architecture import RopeScaling
from herd.model.names import meta_cuts, names, weight_shapes
from herd.model.stored import to_halves, to_pairs
from herd.model.transformer import Transformer, stream_logits
from tests.model.test_transformer import SMALL, ids, model

TIED = replace(SMALL, tied_output=True)
LONG = replace(SMALL, rope_scaling=RopeScaling(factor=8.0, original_context=16))


def saved(folder: Path, ours: Transformer, **how: Any) -> Path:
    weights.save_model(folder, ours, begin=1, stops=[2], pad=0, **how)
    return folder


def test_pairs_and_halves_are_each_others_inverse() -> None:
    rows = torch.randn(24, 5)
    assert torch.equal(to_halves(to_pairs(rows, 8), 8), rows)
    assert to_halves(torch.arange(4.0)[:, None], 4).flatten().tolist() == [0, 2, 1, 3]


@pytest.mark.parametrize("shape", [SMALL, TIED, LONG])
def test_the_formulas_and_the_engine_agree(shape, tmp_path: Path) -> None:
    ours = model(shape)
    stored = weights.open_folder(saved(tmp_path, ours))
    tokens = ids(1, 20)
    with torch.inference_mode():
        wanted = ours(tokens)
    assert np.abs(reference.logits(stored, tokens[0].tolist()) - wanted[0].numpy()).max() < 1e-5
    assert torch.equal(stream_logits(shape, stored.read, tokens), wanted)


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
    index = json.loads((tmp_path / weights.INDEX).read_text())
    first, *_, last = sorted(set(index["weight_map"].values()))
    moved = {name: last if file == first else file for name, file in index["weight_map"].items()}
    (tmp_path / weights.INDEX).write_text(json.dumps(index | {"weight_map": moved}))
    with pytest.raises(ArtifactError, match="and it is not; fetch index and shards again"):
        weights.load_model(tmp_path)
    (tmp_path / weights.INDEX).write_text(json.dumps(index))
    (tmp_path / first).unlink()
    with pytest.raises(ArtifactError, match=rf"{first} is missing"):
        weights.load_model(tmp_path)
    (tmp_path / weights.INDEX).write_text("[]")
    with pytest.raises(ArtifactError, match="is no index of shards"):
        weights.load_model(tmp_path)


@pytest.mark.parametrize("form", ["f32", "f16", "bf16", "q8_0"])
@pytest.mark.parametrize("shape", [SMALL, TIED, replace(LONG, width=64, hidden=96)])
def test_gguf_there_and_back(shape, form: str, tmp_path: Path) -> None:
    ours = model(shape)
    stored = weights.open_folder(saved(tmp_path, ours))
    file = tmp_path / "model.gguf"
    gguf.write(file, stored, form=form, name="small", fields={"tokenizer.ggml.model": "none"})
    back = gguf.open_file(file)
    assert back.shape == shape
    with torch.inference_mode():
        found = stream_logits(shape, back.read, ids(1, 12))
        difference = (found - ours(ids(1, 12))).abs().max() / ours(ids(1, 12)).abs().max()
    assert difference <= {"f32": 0.0, "f16": 3e-3, "bf16": 3e-2, "q8_0": 0.15}[form]


def test_a_gguf_of_another_kind_or_cut_is_told(tmp_path: Path) -> None:
    (tmp_path / "a.gguf").write_bytes(b"GGUF")
    with pytest.raises(ArtifactError, match="no whole GGUF file"):
        gguf.open_file(tmp_path / "a.gguf")


# ---- Meta ----


def as_meta(folder: Path, ours: Transformer, ranks: int) -> None:
    """Writes `ours` as Meta's code would with so many tensor-parallel ranks."""
    shape, table, cuts = ours.shape, names(ours.shape, "meta"), meta_cuts(ours.shape)
    parts: list[dict[str, torch.Tensor]] = [{} for _ in range(ranks)]
    state = dict(ours.state_dict())
    for name in weight_shapes(shape):
        cut, value = cuts[table[name]], state[name]
        if name.endswith(("query.weight", "key.weight")):
            value = to_pairs(value, shape.head_width)
        chunks = [value] * ranks if cut is None else value.chunk(ranks, dim=cut)
        for rank, chunk in enumerate(chunks):
            parts[rank][table[name]] = chunk.clone()
    for rank, part in enumerate(parts):
        torch.save(part, folder / f"consolidated.{rank:02}.pth")
    params = {"dim": shape.width, "n_layers": shape.layers, "n_heads": shape.heads, "n_kv_heads": shape.kv_heads}
    params |= {"vocab_size": shape.vocabulary, "norm_eps": shape.norm_eps, "rope_theta": shape.rope_theta}
    params |= {"ffn_dim_multiplier": 0.57, "multiple_of": 16}
    (folder / "params.json").write_text(json.dumps(params))


def test_the_feed_forwards_width_follows_from_metas_numbers() -> None:
    # Source: params.json of the released models; the results are table 3's.
    assert meta.hidden_width(4096, 1.3, 1024) == 14336
    assert meta.hidden_width(8192, 1.3, 4096) == 28672
    assert meta.hidden_width(16384, 1.2, 4096) == 53248
    assert meta.hidden_width(2048, 1.5, 256) == 8192
    assert meta.hidden_width(3072, 1.0, 256) == 8192


@pytest.mark.parametrize("ranks", [1, 2])
def test_metas_layout_gives_the_same_logits(ranks: int, tmp_path: Path) -> None:
    ours = model()
    as_meta(tmp_path, ours, ranks)
    stored = meta.open_folder(tmp_path)
    assert stored.shape == replace(SMALL, context=8192)
    with torch.inference_mode():
        assert torch.equal(stream_logits(stored.shape, stored.read, ids(1, 12)), ours(ids(1, 12)))
    assert np.abs(reference.logits(stored, ids(1, 12)[0].tolist()) - ours(ids(1, 12))[0].detach().numpy()).max() < 1e-5


def test_metas_first_models_wrote_no_theta(tmp_path: Path) -> None:
    as_meta(tmp_path, model(), 1)
    params = json.loads((tmp_path / "params.json").read_text())
    params.pop("rope_theta")
    (tmp_path / "params.json").write_text(json.dumps(params))
    shape = meta.open_folder(tmp_path).shape
    assert (shape.rope_theta, shape.context) == (10_000.0, 4096)


def test_a_file_of_metas_that_would_run_code_is_not_opened(tmp_path: Path) -> None:
    as_meta(tmp_path, model(), 1)
    torch.save({"tok_embeddings.weight": Trap(tmp_path / "ran")}, tmp_path / "consolidated.00.pth")
    with pytest.raises(ArtifactError, match="holds more than tensors, and is not opened"):
        meta.open_folder(tmp_path)
    assert not (tmp_path / "ran").exists()


class Trap:
    """Writes a file when it is unpickled."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def __reduce__(self):
        return Path.touch, (self.file,)


# ---- against Meta's own code ----


def metas_model(shape) -> Any:
    """The Transformer of llama-models; fairscale, which only spreads it over GPUs, is stood in for."""
    pytest.importorskip("llama_models", reason="llama-models is not installed (pip install --no-deps llama-models)")

    class Plain(nn.Linear):
        def __init__(self, a: int, b: int, bias: bool, init_method: Any, **_: Any) -> None:
            super().__init__(a, b, bias=bias)

    class Table(nn.Embedding):
        def __init__(self, a: int, b: int, init_method: Any) -> None:
            super().__init__(a, b)

    names = ("fairscale", "fairscale.nn", "fairscale.nn.model_parallel")
    stand_ins: dict[str, Any] = {name: types.ModuleType(name) for name in names}
    start: Any = types.ModuleType("fairscale.nn.model_parallel.initialize")
    start.get_model_parallel_world_size = lambda: 1
    layers: Any = types.ModuleType("fairscale.nn.model_parallel.layers")
    layers.ColumnParallelLinear = layers.RowParallelLinear = Plain
    layers.VocabParallelEmbedding = Table
    stand_ins |= {start.__name__: start, layers.__name__: layers}
    stand_ins["fairscale.nn.model_parallel"].initialize = start
    before = {name: sys.modules.get(name) for name in stand_ins}
    sys.modules.update(stand_ins)
    try:
        from llama_models.llama3.args import ModelArgs
        from llama_models.llama3.model import Transformer as Theirs
    finally:
        for name, old in before.items():
            sys.modules.pop(name) if old is None else sys.modules.update({name: old})
    arguments = ModelArgs(
        dim=shape.width,
        n_layers=shape.layers,
        n_heads=shape.heads,
        n_kv_heads=shape.kv_heads,
        vocab_size=shape.vocabulary,
        multiple_of=16,
        ffn_dim_multiplier=0.57,
        norm_eps=shape.norm_eps,
        rope_theta=shape.rope_theta,
        use_scaled_rope=shape.rope_scaling is not None,
        max_batch_size=2,
        max_seq_len=64,
    )
    return Theirs(arguments)


@pytest.mark.row(1, "logits")
@pytest.mark.parametrize("scaled", [False, True])
def test_logits_and_gradients_are_those_of_metas_code(scaled: bool, figure) -> None:
    shape = replace(SMALL, rope_scaling=RopeScaling() if scaled else None)
    ours, theirs = model(shape), metas_model(shape)
    table = names(shape, "meta")
    state = {}
    for name, value in ours.state_dict().items():
        turned = name.endswith(("query.weight", "key.weight"))
        state[table[name]] = to_pairs(value, shape.head_width) if turned else value
    theirs.load_state_dict(state)
    tokens = ids(2, 40)
    # Their forward pass runs without gradients and keeps them in a cache; the body below the decorator is theirs.
    found = type(theirs).forward.__wrapped__(theirs, tokens, 0)
    wanted = ours(tokens)
    difference = (found - wanted).abs().max().item()
    choice = torch.randn(wanted.shape, generator=torch.Generator().manual_seed(3))
    (wanted * choice).sum().backward()
    (found * choice).sum().backward()
    slope = 0.0
    for name, weight in ours.named_parameters():
        other = dict(theirs.named_parameters())[table[name]].grad
        mine = weight.grad
        assert mine is not None
        if name.endswith(("query.weight", "key.weight")):
            mine = to_pairs(mine, shape.head_width)
        slope = max(slope, ((mine - other).abs().max() / other.abs().max()).item())
    figure(f"against llama-models: logits {difference:.1e}, gradients {slope:.1e} of the largest")
    assert difference < 1e-5
    assert slope < 1e-5
