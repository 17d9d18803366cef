"""Training steps of one program: `train_steps.py KIND eager|compiled SHAPE`, a shape in JSON.

For every line on standard input it takes some steps and prints the seconds of the fastest. Needs torch and the program;
herd's own run takes its loop, the others the plain loop that people write around them.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F

WARM_UP = 3


def tokens(shape: dict[str, int]) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, shape["vocab_size"], (shape["rows"], shape["max_seq_len"] + 1), generator=generator)


def herd(shape: dict[str, int], compiled: bool) -> Callable[[int], Any]:
    from herd.model.sizes import Shape
    from herd.model.transformer import Transformer, initialize
    from herd.run.executors import LocalExecutor
    from herd.train.batches import Batch
    from herd.train.checkpoint import TrainState
    from herd.train.loop import single_device
    from herd.train.optimizer import AdamWSettings, adamw
    from herd.train.settings import ComputeSettings

    names = ("dim", "n_layers", "n_heads", "n_kv_heads", "ffn_dim", "vocab_size", "max_seq_len")
    made = Shape(**{name: shape[name] for name in names})
    model = Transformer(made)
    initialize(model, std=0.02, layers=made.n_layers, generator=torch.Generator().manual_seed(0))
    given = tokens(shape)
    batch = Batch(given[:, :-1], given[:, 1:], torch.zeros_like(given[:, 1:]))
    state = TrainState(model, adamw(model, AdamWSettings()))
    # One thread a half of the batch.
    workers = torch.get_num_threads()
    torch.set_num_threads(1)
    # With one core a user would set `micro_batch` to the whole batch.
    micro_batch = shape["rows"] if workers == 1 else None
    hands = single_device(state, LocalExecutor(lambda: workers), ComputeSettings(compile=compiled))

    return repeated(state, batch, hands, micro_batch)


def repeated(state: Any, batch: Any, hands: Any, micro_batch: int | None) -> Callable[[int], float]:
    """Steps of herd's loop on one batch again and again; gives the last loss. One loop takes them all, as in training:
    what it does before its first step is not asked for at each."""
    from herd.train.loop import train_steps
    from herd.train.objectives import next_token_loss

    class Same:
        def __len__(self) -> int:
            return sys.maxsize

        def batch(self, step: int) -> Any:
            return batch

    going = train_steps(
        state,
        Same(),
        loss_fn=next_token_loss,
        lr_schedule=lambda step: 1e-4,
        max_grad_norm=1.0,
        strategy=hands,
        micro_batch=micro_batch,
    )
    return lambda count: [next(going).loss for _ in range(count)][-1]


def plain(model: torch.nn.Module, forward: Callable[[torch.Tensor], torch.Tensor], shape: dict[str, int]):
    given = tokens(shape)
    inputs, targets = given[:, :-1], given[:, 1:]
    return stepped(model, lambda: F.cross_entropy(forward(inputs).flatten(0, 1), targets.flatten()))


def stepped(model: torch.nn.Module, loss: Callable[[], torch.Tensor]) -> Callable[[int], torch.Tensor]:
    """The loop that people write around a model; gives the last loss."""
    matrices = [weight for weight in model.parameters() if weight.dim() >= 2]
    vectors = [weight for weight in model.parameters() if weight.dim() < 2]
    groups = [{"params": matrices, "weight_decay": 0.1}, {"params": vectors, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=1e-4, betas=(0.9, 0.95), fused=True)

    def run(count: int) -> torch.Tensor:
        for _ in range(count):
            value = loss()
            value.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        return value.detach()

    return run


def transformers(shape: dict[str, int], compiled: bool) -> Callable[[int], Any]:
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(
        vocab_size=shape["vocab_size"],
        hidden_size=shape["dim"],
        num_hidden_layers=shape["n_layers"],
        num_attention_heads=shape["n_heads"],
        num_key_value_heads=shape["n_kv_heads"],
        intermediate_size=shape["ffn_dim"],
        max_position_embeddings=shape["max_seq_len"],
    )
    model = LlamaForCausalLM(config)
    forward = torch.compile(lambda inputs: model(inputs, use_cache=False).logits) if compiled else None
    return plain(model, forward or (lambda inputs: model(inputs, use_cache=False).logits), shape)


def litgpt(shape: dict[str, int], compiled: bool) -> Callable[[int], Any]:
    from litgpt import GPT, Config

    config = Config(
        block_size=shape["max_seq_len"],
        vocab_size=shape["vocab_size"],
        padded_vocab_size=shape["vocab_size"],
        n_layer=shape["n_layers"],
        n_head=shape["n_heads"],
        n_query_groups=shape["n_kv_heads"],
        n_embd=shape["dim"],
        intermediate_size=shape["ffn_dim"],
        rotary_percentage=1.0,
        parallel_residual=False,
        bias=False,
        norm_class_name="RMSNorm",
        mlp_class_name="LLaMAMLP",
        rope_base=500_000,
    )
    model = GPT(config)
    return plain(model, torch.compile(model) if compiled else model, shape)


def matrix_speed() -> float:
    """FLOPs a processor second of a large product on one thread."""
    kept = torch.get_num_threads()
    torch.set_num_threads(1)
    a, b = torch.randn(1024, 1024), torch.randn(1024, 1024)
    best = float("inf")
    for _ in range(12):
        began = time.process_time()
        a @ b
        best = min(best, time.process_time() - began)
    torch.set_num_threads(kept)
    return 2 * 1024**3 / best


if __name__ == "__main__":
    kind, how, words = sys.argv[1:]
    shape = json.loads(words)
    torch.manual_seed(0)
    cores = torch.get_num_threads()
    run = {"herd": herd, "transformers": transformers, "litgpt": litgpt}[kind](shape, how == "compiled")
    run(WARM_UP)
    print(json.dumps({"matrix_speed": matrix_speed()}), flush=True)
    # On one core by processor time, which other programs disturb less; on several by the clock.
    clock = time.process_time if cores == 1 else time.perf_counter
    for _ in sys.stdin:
        seconds = []
        for _ in range(shape["steps"]):
            began = clock()
            run(1)
            seconds.append(clock() - began)
        print(min(seconds), flush=True)
