"""Stands ready to write with herd's engine, of this commit or one before: `ready_to_write.py MODEL BATCH`.

Each line on standard input is answered with the processor seconds that writing took. Prompts are other ones every time,
so that nothing of them is cached.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

from herd.generate import engine as module
from herd.model.weights import load_transformer

READ, WRITTEN = 64, 64


def prompts(batch: int, round_: int) -> list[list[int]]:
    return [[(7 * row + 13 * place + 331 * round_) % 4000 + 3 for place in range(READ)] for row in range(batch)]


if __name__ == "__main__":
    model, batch = sys.argv[1], int(sys.argv[2])
    params = getattr(module, "SamplingParams", None) or module.Sampling  # as it was called
    engine = module.Engine(load_transformer(Path(model)), frozenset())
    made = engine.generate(prompts(batch, 0), params(max_tokens=WRITTEN))  # packs, and fills caches
    ids = [list(getattr(one, "token_ids", None) or one.ids) for one in made]
    print(json.dumps({"written": ids}), flush=True)
    for number, _ in enumerate(sys.stdin, 1):
        began = time.process_time()
        engine.generate(prompts(batch, number), params(max_tokens=WRITTEN))
        print(time.process_time() - began, flush=True)
