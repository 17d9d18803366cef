"""Writing by one program on one GPU: `gpu_writing.py KIND JSON`; prints seconds a token by batch. Weights are random
and in bf16; 128 tokens are read and 256 written, greedily."""

from __future__ import annotations

import json
import statistics
import sys
import time
from collections.abc import Callable

import torch

READ, WRITTEN, BATCHES, TURNS = 128, 256, (1, 64), 10


def shape_of(size: str):
    from herd.model.sizes import LLAMA_VOCAB_SIZE, SIZES

    return SIZES[size].shape(vocab_size=LLAMA_VOCAB_SIZE, max_seq_len=8192)


def made(size: str):
    from herd.model.transformer import Transformer

    with torch.device("cuda"):
        model = Transformer(shape_of(size))
        for weight in model.parameters():
            if weight.dim() > 1:
                torch.nn.init.normal_(weight, std=0.03)
    return model.bfloat16()


def herd(size: str) -> tuple[Callable[[list[list[int]], int], list[list[int]]], int]:
    from herd.generate.engine import Engine, SamplingParams

    model = made(size)
    engine = Engine(model, frozenset())
    weights = sum(weight.nbytes for weight in model.parameters())
    return lambda given, count: [
        one.token_ids for one in engine.generate(given, SamplingParams(max_tokens=count))
    ], weights


def transformers(size: str) -> tuple[Callable[[list[list[int]], int], list[list[int]]], int]:
    from transformers import LlamaConfig, LlamaForCausalLM

    from herd.model.config import config_from_shape

    with torch.device("cuda"):
        model = LlamaForCausalLM(
            LlamaConfig.from_dict(config_from_shape(shape_of(size), reward=False, dtype="bfloat16"))
        )
    model = model.bfloat16().eval()

    def write(given: list[list[int]], count: int) -> list[list[int]]:
        read = torch.tensor(given, device="cuda")
        with torch.inference_mode():
            out = model.generate(
                read, attention_mask=torch.ones_like(read), max_new_tokens=count, min_new_tokens=count,
                do_sample=False, eos_token_id=None, pad_token_id=0,
            )  # fmt: skip
        return out[:, READ:].tolist()

    return write, sum(weight.nbytes for weight in model.parameters())


if __name__ == "__main__":
    kind, words = sys.argv[1:3]
    torch.manual_seed(0)
    write, weights = {"herd": herd, "transformers": transformers}[kind](json.loads(words)["size"])
    parts = []
    for batch in BATCHES:
        prompts = [[(7 * row + 13 * place) % 4000 + 3 for place in range(READ)] for row in range(batch)]
        began = time.perf_counter()
        write(prompts, 32)
        ready = time.perf_counter() - began
        short, long = [], []
        for _ in range(TURNS):  # what reading and capturing take is in both, and falls out
            for count, found in ((32, short), (WRITTEN + 32, long)):
                torch.cuda.synchronize()
                start = time.perf_counter()
                write(prompts, count)
                found.append(time.perf_counter() - start)
        each = (statistics.median(long) - statistics.median(short)) / WRITTEN
        row = {"batch": batch, "seconds_per_token": each, "tokens_per_second": round(batch / each), "bytes": weights}
        parts.append(row | {"short": short, "long": long, "ready_seconds": round(ready, 1)})
    print(json.dumps({"kind": kind, "parts": parts}))
