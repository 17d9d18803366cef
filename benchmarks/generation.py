"""Writing tokens on a CPU: herd's engine and transformers on the same weights and prompts.

Prints one JSON line with hardware and commit. 64 tokens read and 64 written, greedily, by a model of the shape 10m;
tokens per processor second, reading included, the median of the rounds; each candidate in a process of its own. The
first tokens of all are compared. llama.cpp takes a Python with `llama_cpp`: `--llama PYTHON`.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

BATCHES, ROUNDS = (1, 16, 64), 3
PEER = Path(__file__).parent / "peers" / "write_tokens.py"


def write_model(folder: Path) -> None:
    import torch

    from herd.model.sizes import SIZES
    from herd.model.transformer import Transformer, initialize
    from herd.tokens import bpe
    from herd.train.checkpoint import write_checkpoint

    shape = SIZES["10m"].shape(vocab_size=4096, max_seq_len=256)
    model = Transformer(shape)
    initialize(model, std=0.05, layers=shape.n_layers, generator=torch.Generator().manual_seed(0))
    text = bpe.train_bpe(iter(["a tokenizer is part of a model's folder"]), vocab_size=260, digits_together=False)
    write_checkpoint(folder, model, text, kind="base")


def measure(commands: dict[str, list[str]], batch: int) -> dict[str, Any]:
    rates: dict[str, list[float]] = {name: [] for name in commands}
    written: dict[str, list[int]] = {}
    told = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore"}
    for _ in range(ROUNDS):
        for name, command in commands.items():
            done = subprocess.run([*command, str(batch)], env=told, capture_output=True, text=True, check=False)
            if done.returncode:
                raise SystemExit(f"{name} failed: {done.stderr[-1500:]}")
            row = json.loads(done.stdout.splitlines()[-1])
            rates[name].append(row["tokens_per_second"])
            written[name] = row["written"]
            print(batch, name, row["tokens_per_second"], file=sys.stderr, flush=True)
    middle = {name: statistics.median(found) for name, found in rates.items()}
    ours = middle["herd"]
    return {
        "batch": batch,
        "tokens_per_second": {name: round(rate, 1) for name, rate in middle.items()},
        "ratio_to_transformers": round(ours / middle["transformers"], 3),
        **({"ratio_to_llama.cpp": round(ours / middle["llama.cpp"], 3)} if "llama.cpp" in middle else {}),
        "same_tokens": all(one == written["transformers"] for one in written.values()),
        "raw": {name: [round(rate, 1) for rate in found] for name, found in rates.items()},
    }


if __name__ == "__main__":
    from measuring import machine

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--llama", default="", help="a Python with llama_cpp, in an environment of its own")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made) / "model"
        folder.mkdir()
        write_model(folder)
        commands = {
            name: [sys.executable, str(PEER), kind, str(folder)]
            for name, kind in (("herd", "herd"), ("transformers", "transformers"))
        }
        if options.llama:
            from herd.serve.folders import export

            export(folder, Path(made) / "model.gguf")
            commands["llama.cpp"] = [options.llama, str(PEER), "llama", str(Path(made) / "model.gguf")]
        rows = [measure(commands, batch) for batch in BATCHES]
    print(json.dumps({"benchmark": "generation", "compared": rows, **machine()}))
