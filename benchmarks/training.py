"""Training steps of the tiny base: herd on one and two threads, and transformers' Llama doing the same work.

Prints one JSON line with hardware and commit. Each is timed in turn, several rounds, the median counts.
"""

from __future__ import annotations

import json
import os
import statistics
import time
from collections.abc import Callable

os.environ.setdefault("OMP_NUM_THREADS", "1")

import torch
import torch.nn.functional as F
import transformers
from measuring import machine

from herd.core.places import LocalPlace
from herd.model.sizes import Size
from herd.model.transformer import Transformer, initialize
from herd.train.batches import Batch
from herd.train.checkpoint import TrainState
from herd.train.loop import steps
from herd.train.objectives import next_token
from herd.train.optimizer import AdamWSettings, adamw

ROWS, LENGTH, STEPS, ROUNDS = 4, 256, 20, 5
SHAPE = Size(width=128, layers=4, heads=4, kv_heads=2, hidden=352).shape(vocabulary=1280, context=LENGTH)


class Same:
    """The same batch at every step: one document a row."""

    def __init__(self) -> None:
        tokens = torch.randint(0, SHAPE.vocabulary, (ROWS, LENGTH + 1), generator=torch.Generator().manual_seed(0))
        self.one = Batch(tokens[:, :-1], tokens[:, 1:], torch.zeros(ROWS, LENGTH, dtype=torch.long))

    def __len__(self) -> int:
        return STEPS

    def batch(self, step: int) -> Batch:
        return self.one


def herd(workers: int) -> Callable[[], None]:
    model = Transformer(SHAPE)
    initialize(model, std=0.06, layers=SHAPE.layers, generator=torch.Generator().manual_seed(0))
    optimizer, place, batches = adamw(model, AdamWSettings()), LocalPlace(lambda: workers), Same()

    def run() -> None:
        state = TrainState(model, optimizer)
        for _ in steps(state, batches, loss=next_token, rate=lambda step: 1e-4, clip=1.0, place=place):
            pass

    return run


def peer() -> Callable[[], None]:
    """transformers with the same shape, optimizer and clipping; its plain causal mask is less work than ours."""
    config = transformers.LlamaConfig(
        vocab_size=SHAPE.vocabulary,
        hidden_size=SHAPE.width,
        num_hidden_layers=SHAPE.layers,
        num_attention_heads=SHAPE.heads,
        num_key_value_heads=SHAPE.kv_heads,
        intermediate_size=SHAPE.hidden,
        max_position_embeddings=LENGTH,
    )
    model, batch = transformers.LlamaForCausalLM(config), Same().one
    optimizer = adamw(model, AdamWSettings())
    for group in optimizer.param_groups:
        group["lr"] = 1e-4

    def run() -> None:
        for _ in range(STEPS):
            logits = model(batch.tokens_BT, use_cache=False).logits
            F.cross_entropy(logits.flatten(0, 1), batch.targets_BT.flatten()).backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)

    return run


if __name__ == "__main__":
    candidates = {"herd, 1 thread": herd(1), "herd, 2 threads": herd(2), "transformers, 1 thread": peer()}
    seconds: dict[str, list[float]] = {name: [] for name in candidates}
    for turn in range(ROUNDS + 1):
        for name, run in candidates.items():
            began = time.perf_counter()
            run()
            if turn:  # the first round warms up
                seconds[name].append(time.perf_counter() - began)
    tokens = ROWS * LENGTH * STEPS
    rates = {name: tokens / statistics.median(found) for name, found in seconds.items()}
    row = {
        "benchmark": "training",
        "tokens_per_second": {name: round(rate) for name, rate in rates.items()},
        "ratio_to_transformers": round(rates["herd, 1 thread"] / rates["transformers, 1 thread"], 3),
        "ratio_of_two_threads_to_one": round(rates["herd, 2 threads"] / rates["herd, 1 thread"], 3),
        "seconds": seconds,
        "torch": torch.__version__,
        "transformers": transformers.__version__,
    }
    print(json.dumps(row | machine()))
