"""Training steps of one program on one GPU: `gpu_steps.py KIND SHAPE`, a shape in JSON; prints seconds and memory.

Kinds: herd, herd-float8, herd-documents (rows of several documents each), transformers, torchtitan. Every one in bf16
by autocast and compiled; herd's own run takes its loop, the others the plain loop that people write around them.
"""

from __future__ import annotations

import itertools
import json
import statistics
import sys
import time
from collections.abc import Callable

import torch
import torch.nn.functional as F
from train_steps import repeated, stepped, tokens

WARM_UP, STEPS = 3, 10


def documents(shape: dict[str, int]) -> torch.Tensor:
    """Cuts at random, so that a document has 2,048 tokens on average."""
    generator = torch.Generator().manual_seed(1)
    return (torch.rand(shape["rows"], shape["max_seq_len"], generator=generator) < 1 / 2048).long().cumsum(1)


def herd(shape: dict[str, int], kind: str) -> Callable[[], float]:
    from herd.model.sizes import SIZES
    from herd.model.transformer import Transformer
    from herd.run.executors import LocalExecutor
    from herd.train.batches import Batch
    from herd.train.checkpoint import TrainState
    from herd.train.loop import single_device
    from herd.train.optimizer import AdamWSettings, adamw
    from herd.train.settings import ComputeSettings

    made = SIZES[shape["size"]].shape(vocab_size=shape["vocab_size"], max_seq_len=shape["max_seq_len"])
    with torch.device("cuda"):
        model = Transformer(made)
        for weight in model.parameters():
            if weight.dim() > 1:
                torch.nn.init.normal_(weight, std=0.02)
    state = TrainState(model, adamw(model, AdamWSettings()))
    given = tokens(shape)
    cut = documents(shape) if kind == "herd-documents" else torch.zeros_like(given[:, 1:])
    batch = Batch(given[:, :-1], given[:, 1:], cut)
    speed = ComputeSettings(compile=True, dtype="bf16", float8=kind == "herd-float8")
    hands = single_device(state, LocalExecutor(), speed)
    told = hands.compute_context.trunks[0].attention_backend
    print(json.dumps({"attention": type(told).__name__, "first": str(told.first)}), flush=True)

    run = repeated(state, batch, hands, shape.get("micro_batch"))
    return lambda: run(1)


def plain(model: torch.nn.Module, loss: Callable[[torch.Tensor, torch.Tensor], torch.Tensor], shape: dict[str, int]):
    given = tokens(shape).cuda()
    inputs, targets = given[:, :-1], given[:, 1:]

    def value() -> torch.Tensor:
        with torch.autocast("cuda", torch.bfloat16):
            return loss(inputs, targets)

    run = stepped(model, value)
    return lambda: float(run(1))


def cross_entropy(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    return F.cross_entropy(logits.flatten(0, 1).float(), targets.flatten())


def transformers(shape: dict[str, int]) -> Callable[[], float]:
    from transformers import LlamaConfig, LlamaForCausalLM

    from herd.model.config import config_from_shape
    from herd.model.sizes import SIZES

    made = SIZES[shape["size"]].shape(vocab_size=shape["vocab_size"], max_seq_len=shape["max_seq_len"])
    with torch.device("cuda"):
        model = LlamaForCausalLM(LlamaConfig.from_dict(config_from_shape(made, reward=False, dtype="float32")))

    def loss(inputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        return cross_entropy(model(inputs, use_cache=False).logits, targets)

    return plain(model, torch.compile(loss), shape)


def torchtitan(shape: dict[str, int]) -> Callable[[], float]:
    """Blocks and loss compiled, as its own set-up does."""
    from torchtitan.models.llama3.model.args import TransformerModelArgs
    from torchtitan.models.llama3.model.model import Transformer

    from herd.model.sizes import SIZES

    size = SIZES[shape["size"]]
    numbers = {
        "dim": size.dim,
        "n_layers": size.n_layers,
        "n_heads": size.n_heads,
        "n_kv_heads": size.n_kv_heads,
        "vocab_size": shape["vocab_size"],
        "ffn_dim_multiplier": 1.5,
        "multiple_of": 256,
        "rope_theta": 500_000,
        "max_seq_len": shape["max_seq_len"],
    }
    with torch.device("cuda"):
        model = Transformer(TransformerModelArgs(**numbers))
        with torch.no_grad():
            model.init_weights()
    model.output.weight = model.tok_embeddings.weight
    assert model.layers["0"].feed_forward.w1.out_features == size.ffn_dim
    for name, block in model.layers.named_children():
        model.layers.register_module(name, torch.compile(block, fullgraph=True))
    quick = torch.compile(cross_entropy)
    return plain(model, lambda inputs, targets: quick(model(inputs), targets), shape)


def _on_device(event) -> bool:
    return event.device_type == torch.autograd.DeviceType.CUDA and event.time_range.elapsed_us() > 0


def profile(run: Callable[[], float]) -> None:
    from torch.profiler import ProfilerActivity
    from torch.profiler import profile as watched

    with watched(activities=[ProfilerActivity.CUDA, ProfilerActivity.CPU]) as found:
        run()
        torch.cuda.synchronize()
    kernels = sorted((one.time_range.start, one.time_range.end, one.name) for one in found.events() if _on_device(one))
    busy, gaps = kernels[0][1], []
    for (_, _, before), (start, end, after) in itertools.pairwise(kernels):
        gaps.append((start - busy, before[:60], after[:60]))
        busy = max(busy, end)
    for gap, before, after in sorted(gaps, reverse=True)[:14]:
        print(f"idle {gap:.0f} us after {before} before {after}")
    print(f"idle {sum(max(0, gap) for gap, _, _ in gaps):.0f} us in all", flush=True)
    print(found.key_averages().table(sort_by="cuda_time_total", row_limit=28, max_name_column_width=70), flush=True)


if __name__ == "__main__":
    kind, words = sys.argv[1:3]
    shape = json.loads(words)
    torch.manual_seed(0)
    torch.set_float32_matmul_precision("high")
    began = time.perf_counter()
    run = {"transformers": transformers, "torchtitan": torchtitan}.get(kind, lambda given: herd(given, kind))(shape)
    losses = [run() for _ in range(WARM_UP)]
    ready = time.perf_counter() - began
    seconds = []
    for _ in range(STEPS):
        torch.cuda.synchronize()
        start = time.perf_counter()
        losses.append(run())
        torch.cuda.synchronize()
        seconds.append(time.perf_counter() - start)
    if "--profile" in sys.argv:
        profile(run)
    row = {
        "kind": kind,
        "rows": shape["rows"],
        "micro_batch": shape.get("micro_batch"),
        "seconds": statistics.median(seconds),
        "raw": [round(one, 4) for one in seconds],
        "gigabytes": round(torch.cuda.max_memory_allocated() / 1e9, 1),
        "ready_seconds": round(ready, 1),
        "losses": [round(losses[0], 3), round(losses[-1], 3)],
    }
    print(json.dumps(row), flush=True)
