"""Times the writing of tokens by one program: `write_tokens.py KIND MODEL BATCH`."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path

READ, WRITTEN = 64, 64


def prompts(batch: int, turn: int = 0) -> list[list[int]]:
    """Others in every turn, so that nothing of them is cached."""
    return [[(7 * row + 13 * place + 331 * turn) % 4000 + 3 for place in range(READ)] for row in range(batch)]


def herd(model: str) -> Callable[[list[list[int]]], list[list[int]]]:
    from herd.generate.engine import Engine, SamplingParams
    from herd.model.weights import load_transformer

    engine = Engine(load_transformer(Path(model)), frozenset())
    return lambda given: [one.token_ids for one in engine.generate(given, SamplingParams(max_tokens=WRITTEN))]


def transformers(model: str) -> Callable[[list[list[int]]], list[list[int]]]:
    import torch
    from transformers import AutoModelForCausalLM

    made = AutoModelForCausalLM.from_pretrained(model, dtype=torch.float32).eval()

    def write(given: list[list[int]]) -> list[list[int]]:
        read = torch.tensor(given)
        with torch.inference_mode():
            out = made.generate(
                read,
                attention_mask=torch.ones_like(read),
                max_new_tokens=WRITTEN,
                do_sample=False,
                eos_token_id=None,
                pad_token_id=0,
            )
        return out[:, READ:].tolist()

    return write


def llama(model: str) -> Callable[[list[list[int]]], list[list[int]]]:
    from llama_cpp import Llama

    made = Llama(model, n_ctx=256, n_threads=1, n_threads_batch=1, verbose=False, logits_all=False)

    def one(given: list[int]) -> list[int]:
        made.reset()
        found = []
        for token in made.generate(given, temp=0.0, repeat_penalty=1.0):
            found.append(int(token))
            if len(found) == WRITTEN:
                break
        return found

    return lambda given: [one(prompt) for prompt in given]


if __name__ == "__main__":
    kind, model, batch = sys.argv[1], sys.argv[2], int(sys.argv[3])
    made = {
        "herd": lambda: herd(model),
        "transformers": lambda: transformers(model),
        "llama": lambda: llama(model),
    }[kind]()
    written = made(prompts(batch))  # packs, and fills caches
    began, times = time.process_time(), 0
    while times < 1 or time.process_time() - began < 3:
        times += 1
        made(prompts(batch, times))
    rate = batch * WRITTEN * times / (time.process_time() - began)
    print(json.dumps({"tokens_per_second": rate, "written": written[0][:16]}))
