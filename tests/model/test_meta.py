"""Meta's own layout: the same logits from any count of ranks, and what is damaged or foreign is told."""

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
from herd.model import meta, reference
from herd.model.architecture import RopeScaling
from herd.model.stored import to_pairs
from herd.model.transformer import Transformer, stream_logits
from herd.model.weight_names import meta_shard_dims, weight_names, weight_shapes
from tests.model.test_transformer import SMALL, ids, model


def test_an_output_stored_a_second_time_is_tied(tmp_path: Path) -> None:
    as_meta(tmp_path, model(), 2)
    for file in tmp_path.glob("*.pth"):
        held = torch.load(file, weights_only=True)
        torch.save(held | {"output.weight": held["tok_embeddings.weight"]}, file)
    shape = meta.open_meta_folder(tmp_path).shape
    assert shape.tied_output
    assert {name for name, _ in meta.open_meta_folder(tmp_path).tensors()} == set(weight_shapes(shape))


def test_a_lost_weight_file_or_number_is_named(tmp_path: Path) -> None:
    as_meta(tmp_path, model(), 2)
    second = tmp_path / "consolidated.01.pth"
    held = torch.load(second, weights_only=True)
    cut = {name: value for name, value in held.items() if name != "layers.1.attention.wo.weight"}
    torch.save(cut, second)
    with pytest.raises(ArtifactError, match=r"lacks layers\.1\.attention\.wo\.weight"):
        meta.open_meta_folder(tmp_path)
    torch.save([1, 2], second)
    with pytest.raises(ArtifactError, match="no table of tensors by name"):
        meta.open_meta_folder(tmp_path)
    second.write_bytes(b"cut")
    with pytest.raises(ArtifactError, match=r"consolidated\.01\.pth"):
        meta.open_meta_folder(tmp_path)
    for file in tmp_path.glob("*.pth"):
        file.unlink()
    with pytest.raises(ArtifactError, match=r"no consolidated\.\*\.pth; fetch the weights too"):
        meta.open_meta_folder(tmp_path)
    (tmp_path / "params.json").write_text("[]")
    with pytest.raises(ArtifactError, match="no table of names and numbers"):
        meta.open_meta_folder(tmp_path)
    (tmp_path / "params.json").unlink()
    with pytest.raises(ArtifactError, match=r"params\.json cannot be read"):
        meta.open_meta_folder(tmp_path)


def test_what_the_parameters_say_of_vocabulary_and_scaling_is_asked(tmp_path: Path) -> None:
    as_meta(tmp_path, model(), 1)
    params = json.loads((tmp_path / "params.json").read_text())

    def shape(**more: Any) -> Any:
        (tmp_path / "params.json").write_text(json.dumps(params | more))
        return meta.open_meta_folder(tmp_path).shape

    scaled = shape(use_scaled_rope=True, vocab_size=-1)
    assert (scaled.max_seq_len, scaled.rope_scaling) == (131_072, RopeScaling(factor=8.0))
    assert shape(use_scaled_rope=True, rope_scale_factor=32).rope_scaling == RopeScaling(factor=32.0)
    assert shape(use_scaled_rope=True, low_freq_factor=1).rope_scaling == RopeScaling(factor=8.0)
    with pytest.raises(ArtifactError, match="low_freq_factor is 2"):
        shape(use_scaled_rope=True, low_freq_factor=2)
    with pytest.raises(ArtifactError, match="vocab_size is 96, and the embedding has 97 rows"):
        shape(vocab_size=96)
    params.pop("dim")
    with pytest.raises(ArtifactError, match="has no 'dim'"):
        shape()


def as_meta(folder: Path, ours: Transformer, ranks: int) -> None:
    """Writes `ours` as Meta's code would with so many tensor-parallel ranks."""
    shape, table, cuts = ours.shape, weight_names(ours.shape, "meta"), meta_shard_dims(ours.shape)
    parts: list[dict[str, torch.Tensor]] = [{} for _ in range(ranks)]
    state = dict(ours.state_dict())
    for name in weight_shapes(shape):
        cut, value = cuts[table[name]], state[name]
        if name.endswith(("query.weight", "key.weight")):
            value = to_pairs(value, shape.head_dim)
        chunks = [value] * ranks if cut is None else value.chunk(ranks, dim=cut)
        for rank, chunk in enumerate(chunks):
            parts[rank][table[name]] = chunk.clone()
    for rank, part in enumerate(parts):
        torch.save(part, folder / f"consolidated.{rank:02}.pth")
    params = {"dim": shape.dim, "n_layers": shape.n_layers, "n_heads": shape.n_heads, "n_kv_heads": shape.n_kv_heads}
    params |= {"vocab_size": shape.vocab_size, "norm_eps": shape.norm_eps, "rope_theta": shape.rope_theta}
    params |= {"ffn_dim_multiplier": 0.57, "multiple_of": 16}
    (folder / "params.json").write_text(json.dumps(params))


def test_the_feed_forwards_width_follows_from_metas_numbers() -> None:
    # Source: params.json of the released models; the results are table 3's.
    assert meta.compute_ffn_dim(4096, 1.3, 1024) == 14336
    assert meta.compute_ffn_dim(8192, 1.3, 4096) == 28672
    assert meta.compute_ffn_dim(16384, 1.2, 4096) == 53248
    assert meta.compute_ffn_dim(2048, 1.5, 256) == 8192
    assert meta.compute_ffn_dim(3072, 1.0, 256) == 8192


@pytest.mark.parametrize("ranks", [1, 2])
def test_metas_layout_gives_the_same_logits(ranks: int, tmp_path: Path) -> None:
    ours = model()
    as_meta(tmp_path, ours, ranks)
    stored = meta.open_meta_folder(tmp_path)
    assert stored.shape == replace(SMALL, max_seq_len=8192)
    with torch.inference_mode():
        assert torch.equal(stream_logits(stored.shape, stored.read, ids(1, 12)), ours(ids(1, 12)))
    assert np.abs(reference.logits(stored, ids(1, 12)[0].tolist()) - ours(ids(1, 12))[0].detach().numpy()).max() < 1e-5


def test_metas_first_models_wrote_no_theta(tmp_path: Path) -> None:
    as_meta(tmp_path, model(), 1)
    params = json.loads((tmp_path / "params.json").read_text())
    params.pop("rope_theta")
    (tmp_path / "params.json").write_text(json.dumps(params))
    shape = meta.open_meta_folder(tmp_path).shape
    assert (shape.rope_theta, shape.max_seq_len) == (10_000.0, 4096)


def test_a_file_of_metas_that_would_run_code_is_not_opened(tmp_path: Path) -> None:
    as_meta(tmp_path, model(), 1)
    torch.save({"tok_embeddings.weight": Trap(tmp_path / "ran")}, tmp_path / "consolidated.00.pth")
    with pytest.raises(ArtifactError, match="holds more than tensors, and is not opened"):
        meta.open_meta_folder(tmp_path)
    assert not (tmp_path / "ran").exists()


class Trap:
    """Writes a file when it is unpickled."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def __reduce__(self):
        return Path.touch, (self.file,)


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
        dim=shape.dim,
        n_layers=shape.n_layers,
        n_heads=shape.n_heads,
        n_kv_heads=shape.n_kv_heads,
        vocab_size=shape.vocab_size,
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
    table = weight_names(shape, "meta")
    state = {}
    for name, value in ours.state_dict().items():
        turned = name.endswith(("query.weight", "key.weight"))
        state[table[name]] = to_pairs(value, shape.head_dim) if turned else value
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
            mine = to_pairs(mine, shape.head_dim)
        slope = max(slope, ((mine - other).abs().max() / other.abs().max()).item())
    figure(f"against llama-models: logits {difference:.1e}, gradients {slope:.1e} of the largest")
    assert difference < 1e-5
    assert slope < 1e-5
