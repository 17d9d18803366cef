"""Training steps on a CPU: herd, transformers and litgpt with the same shape, batch, optimizer and clipping.

Prints one JSON line with hardware and commit. All candidates stand ready, each in a process of its own, and take turns
of a few steps, so that a slower minute of the machine meets all alike: the ratio is the median over turns of our rate
by the best peer's in the same turn. The share is that of the same core's speed in a large product.

python benchmarks/training.py [--litgpt PYTHON] [--shapes 1m 10m] [--cores 1 2] [--eager]
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
from pathlib import Path
from typing import Any

from measuring import ask, machine, stand_ready

LENGTHS = {"1m": 256, "10m": 512}
VOCABULARIES = {"1m": 1280, "10m": 4096}
ROWS = 4
TURNS, STEPS = {"1m": 30, "10m": 9}, {"1m": 3, "10m": 2}


def numbers(shape: str) -> dict[str, int]:
    """The shape in plain numbers, for programs that know nothing of herd."""
    from herd.model.sizes import SIZES

    size = SIZES[shape]
    found = size.shape(vocab_size=VOCABULARIES[shape], max_seq_len=LENGTHS[shape])
    names = ("dim", "n_layers", "n_heads", "n_kv_heads", "ffn_dim", "vocab_size", "max_seq_len")
    return {name: getattr(found, name) for name in names} | {"flops": int(found.training_flops(found.max_seq_len))}


def turns(commands: dict[str, list[str]], cores: int, count: int) -> tuple[dict[str, list[float]], float]:
    """Seconds a step of every candidate, turn after turn, and the FLOPs a second of a large product on one core."""
    told = os.environ | {"OMP_NUM_THREADS": str(cores), "PYTHONWARNINGS": "ignore"}
    running = {name: stand_ready(name, command, told) for name, command in commands.items()}
    speed = max(found["matrix_speed"] for _, found in running.values())
    seconds: dict[str, list[float]] = {name: [] for name in commands}
    for turn in range(count):
        for name, (process, _) in running.items():
            seconds[name].append(ask(process))
        print(turn, {name: round(found[-1], 4) for name, found in seconds.items()}, file=sys.stderr, flush=True)
    for process, _ in running.values():
        process.communicate()
    return seconds, speed


def compare(shape: str, cores: int, litgpt: str, eager: bool) -> dict[str, Any]:
    peers = Path(__file__).parent / "peers" / "train_steps.py"
    row = json.dumps(numbers(shape) | {"rows": ROWS, "steps": STEPS[shape]})

    def command(kind: str, compiled: bool) -> list[str]:
        python = litgpt if kind == "litgpt" else sys.executable
        return [python, str(peers), kind, "compiled" if compiled else "eager", row]

    kinds = ("herd", "transformers", *(["litgpt"] if litgpt else []))
    commands = {f"{kind}, compiled": command(kind, True) for kind in kinds}
    commands |= {kind: command(kind, False) for kind in (kinds if eager else ("herd",))}
    seconds, speed = turns(commands, cores, TURNS[shape])
    tokens, flops = ROWS * LENGTHS[shape], numbers(shape)["flops"]
    rates = {name: tokens / statistics.median(found) for name, found in seconds.items()}
    best = max((name for name in rates if not name.startswith("herd")), key=lambda name: rates[name])
    ours = max((name for name in rates if name.startswith("herd")), key=lambda name: rates[name])
    pairs = sorted(theirs / our for theirs, our in zip(seconds[best], seconds[ours], strict=True))
    return {
        "shape": shape,
        "cores": cores,
        "tokens_per_second": {name: round(rate) for name, rate in rates.items()},
        "share_of_matrix_speed": {name: round(rate * flops / (speed * cores), 3) for name, rate in rates.items()},
        "best_peer": best,
        "ratio_to_best_peer": round(statistics.median(pairs), 3),
        "ratio_quartiles": [round(pairs[len(pairs) // 4], 3), round(pairs[-1 - len(pairs) // 4], 3)],
        "raw": {name: [round(one, 4) for one in found] for name, found in seconds.items()},
    }


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--litgpt", default="", help="a Python with litgpt, in an environment of its own")
    parser.add_argument("--shapes", nargs="+", default=["1m", "10m"])
    parser.add_argument("--cores", nargs="+", type=int, default=[1, 2])
    parser.add_argument("--eager", action="store_true", help="peers not compiled too, which are slower")
    options = parser.parse_args()
    compared = [
        compare(shape, cores, options.litgpt, options.eager) for shape in options.shapes for cores in options.cores
    ]
    print(json.dumps({"benchmark": "training", "compared": compared, **machine()}))
