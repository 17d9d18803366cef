"""Writing on a GPU: the kernels that stream weights, and steps captured as a graph, give what the model gives."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from dataclasses import replace

import pytest
import torch

from herd.generate import engine
from herd.generate.cuda_graphs import CudaGraphDecoder
from herd.generate.engine import Engine, SamplingParams
from herd.generate.runner import ModelRunner
from herd.model import streamed
from herd.model.attention_backends import Sdpa
from herd.model.cache import PagedKVCache, gather_rows
from herd.model.sizes import Size
from herd.model.streamed import StreamedModel, streamable
from herd.model.transformer import Transformer, initialize

needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
# Groups, widths and depths that are no powers of two; a cache in one part and in several; a tied output.
SHAPES = [
    (Size(dim=96, n_layers=2, n_heads=6, n_kv_heads=2, ffn_dim=50), 50, 40, 2),
    (Size(dim=64, n_layers=2, n_heads=4, n_kv_heads=1, ffn_dim=50), 50, 150, 3),
    (Size(dim=128, n_layers=2, n_heads=2, n_kv_heads=2, ffn_dim=50, tied_output=True), 52, 150, 1),
]


def made(size: Size, vocabulary: int) -> Transformer:
    shape = size.shape(vocab_size=vocabulary, max_seq_len=640)
    model = Transformer(shape)
    initialize(model, std=0.3, layers=shape.n_layers, generator=torch.Generator().manual_seed(0))
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for weight in model.parameters():
            if weight.dim() == 1:
                weight += 0.1 * torch.randn(weight.shape, generator=generator)
    return model


def in_blocks(model: Transformer, rows: int, slots: int, size: int = 16) -> PagedKVCache:
    """An empty cache whose rows have blocks here and there."""
    cache = PagedKVCache.empty(
        model.shape, 1 + rows * -(-slots // size), size, torch.float32, model.embedding.weight.device
    )
    blocks = 1 + torch.randperm(len(cache.lengths_B) - 1, generator=torch.Generator().manual_seed(0))
    table, lengths = blocks.to(cache.lengths_B.device).view(rows, -1), cache.lengths_B[:rows]
    return PagedKVCache(cache.keys_LBGSE, cache.values_LBGSE, table, lengths)


def held(cache: PagedKVCache, row: int, length: int) -> torch.Tensor:
    """Keys and values of a row in all layers."""
    layers = [cache.layer(number, cache.positions(1), cache.cache_len) for number in range(len(cache.keys_LBGSE))]
    return torch.stack([x[row, :, :length] for layer in layers for x in gather_rows(layer)])


@torch.inference_mode()
def farthest(model: Transformer, slots: int, rows: int) -> float:
    """The largest difference between logits, and between what is cached, over three tokens of each row."""
    device = model.embedding.weight.device
    streamed, generator = StreamedModel(model), torch.Generator().manual_seed(2)
    caches = [PagedKVCache.empty(model.shape, rows, slots, torch.float32, device), in_blocks(model, rows, slots)]
    longest = slots - 5
    prompts = torch.randint(0, model.shape.vocab_size, (rows, longest), generator=generator).to(device)
    for cache in caches:
        model.hidden_states(prompts, cache=cache)
        cache.lengths_B = torch.tensor([longest, longest // 3, 3][:rows], device=device)
    most = 0.0
    for _ in range(3):
        tokens = torch.randint(0, model.shape.vocab_size, (rows, 1), generator=generator).to(device)
        wanted = model.logits(model.hidden_states(tokens, cache=caches[0])[:, -1])
        found = streamed.logits(streamed.hidden_states(tokens, cache=caches[1])[:, -1])
        for cache in caches:
            cache.lengths_B = cache.lengths_B + 1
        apart = [found - wanted]
        for row, length in enumerate(caches[0].lengths_B.tolist()):
            apart.append(held(caches[0], row, length) - held(caches[1], row, length))
        most = max(most, *(float(one.abs().max()) for one in apart))
    return most


@torch.inference_mode()
def attention_apart(model: Transformer, slots: int, rows: int) -> float:
    """How far the kernel's attention is from PyTorch's, over a cache in blocks that holds the new token already."""
    shape, generator = model.shape, torch.Generator().manual_seed(4)
    cache, device = in_blocks(model, rows, slots), model.embedding.weight.device
    for x in (cache.keys_LBGSE, cache.values_LBGSE):
        x.copy_(torch.randn(x.shape, generator=generator))
    q = torch.randn(rows, shape.n_heads, 1, shape.head_dim, generator=generator).to(device)
    positions = torch.tensor([slots - 1, slots // 3, 0][:rows], device=device)[:, None]
    keys, values, table, _ = layer = cache.layer(0, positions, cache.cache_len)
    mask = (torch.arange(cache.cache_len, device=device) <= positions)[:, None, None]
    wanted = Sdpa().attend(q, *gather_rows(layer), mask)
    found = streamed.attend_blocks(q.flatten(1), keys, values, table, positions[:, 0], cos_sin=None)
    return float((found - wanted.flatten(1)).abs().max())


def written_in_steps(model: Transformer, prompts: list[list[int]], sampling: SamplingParams) -> list[list[int]]:
    """As on a GPU, but for the graph: each step is run as it would be captured."""

    class Run:
        def __init__(self, captured: CudaGraphDecoder, reach: int) -> None:
            self.replay = lambda: captured._step(reach)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(CudaGraphDecoder, "_capture", lambda captured, reach: Run(captured, reach))
        patch.setattr(ModelRunner, "decode", lambda runner, running: runner._graph_step(running))
        patch.setattr(engine, "_inference_model", lambda model, call: StreamedModel(model))
        made = Engine(model, frozenset({2, 3}), max_num_seqs=2).generate(prompts, sampling)
        return [one.token_ids for one in made]


def interpreted() -> None:
    streamed._OUTPUTS = 16  # more at a time: programs are what takes the interpreter long
    shapes = [(made(size, words), slots, rows) for size, words, slots, rows in SHAPES]
    print(max(measure(*shape) for shape in shapes for measure in (farthest, attention_apart)))
    model, prompts = made(*SHAPES[0][:2]), [[1 + 7 * place % 49 for place in range(many)] for many in (40, 3)]
    warm = SamplingParams(max_tokens=4, seed=3, temperature=0.8)
    for sampling in (SamplingParams(max_tokens=4), warm, replace(warm, frequency_penalty=0.5, logprobs=1)):
        wanted = Engine(model, frozenset({2, 3}), max_num_seqs=2).generate(prompts, sampling)
        assert written_in_steps(model, prompts, sampling) == [one.token_ids for one in wanted]


@pytest.mark.skipif(importlib.util.find_spec("triton") is None, reason="needs the package triton, of torch for GPUs")
def test_streaming_kernels_compute_what_the_model_does() -> None:
    """By Triton's interpreter, which needs no GPU."""
    told = os.environ | {"TRITON_INTERPRET": "1"}
    program = "from tests.generate.test_on_gpu import interpreted; interpreted()"
    done = subprocess.run([sys.executable, "-c", program], env=told, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    assert float(done.stdout) < 1e-4


def test_a_model_on_a_cpu_is_not_streamed() -> None:
    assert not streamable(made(*SHAPES[0][:2]))


@needs_gpu
@pytest.mark.parametrize(("size", "vocabulary", "slots", "rows"), SHAPES)
def test_streaming_on_a_gpu(size: Size, vocabulary: int, slots: int, rows: int) -> None:
    model = made(size, vocabulary).cuda()
    assert streamable(model)
    assert farthest(model, slots, rows) < 1e-3
    assert attention_apart(model, slots, rows) < 1e-3


@needs_gpu
@pytest.mark.parametrize("temperature", [0.0, 0.8])
@pytest.mark.parametrize("rows", [3, 8])
def test_captured_steps_write_what_a_cpu_writes(rows: int, temperature: float) -> None:
    """More prompts than rows, answers that end early, and rows that are given back on the way."""
    model = made(*SHAPES[0][:2])
    sampling = SamplingParams(max_tokens=40, temperature=temperature, seed=3)
    prompts = [[1 + (3 * row + place) % 49 for place in range(1 + row % 5)] for row in range(21)]
    wanted = Engine(model, frozenset({2, 3}), max_num_seqs=rows).generate(prompts, sampling)
    engine = Engine(model.cuda(), frozenset({2, 3}), max_num_seqs=rows)
    found = engine.generate(prompts, sampling)
    assert [one.token_ids for one in found] == [one.token_ids for one in wanted]
    assert [one.stop_reason for one in found] == [one.stop_reason for one in wanted]
    for one, other in zip(found, wanted, strict=True):
        assert one.logprobs == pytest.approx(other.logprobs, abs=1e-3)
    assert list(engine.stream(prompts[0], sampling))[-1].outputs[0].token_ids == wanted[0].token_ids


@needs_gpu
def test_a_full_row_writes_nowhere() -> None:
    model = made(*SHAPES[0][:2])
    sampling = SamplingParams(max_tokens=30)
    wanted = Engine(model, frozenset()).generate([[5] * 630, [6, 7]], sampling)
    found = Engine(model.cuda(), frozenset()).generate([[5] * 630, [6, 7]], sampling)
    assert [len(one.token_ids) for one in found] == [len(one.token_ids) for one in wanted] == [11, 30]
    assert [one.token_ids for one in found] == [one.token_ids for one in wanted]
