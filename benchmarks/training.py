"""Training steps on a CPU: herd, transformers and litgpt with the same shape, batch, optimizer and clipping.

Prints one JSON line with hardware and commit. Each candidate runs in a process of its own, one after another in every
round, so that a slower minute of the machine meets all alike; tokens per processor second, the median of the rounds.
The share is that of the same core's speed in a large product, measured in the same process.

python benchmarks/training.py [--litgpt PYTHON] [--shapes 1m 10m] [--cores 1 2] [--eager]
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

LENGTHS = {"1m": 256, "10m": 512}
VOCABULARIES = {"1m": 1280, "10m": 4096}
ROWS, STEPS, ROUNDS = 4, 8, 3


def numbers(shape: str) -> dict[str, int]:
    """The shape in plain numbers, for programs that know nothing of herd."""
    from herd.model.sizes import SIZES

    size = SIZES[shape]
    found = size.shape(vocabulary=VOCABULARIES[shape], context=LENGTHS[shape])
    names = ("width", "layers", "heads", "kv_heads", "hidden", "vocabulary", "context")
    return {name: getattr(found, name) for name in names} | {"flops": int(found.training_flops(found.context))}


def rounds(commands: dict[str, list[str]], cores: int) -> dict[str, list[dict[str, float]]]:
    """What every candidate measured, round after round."""
    found: dict[str, list[dict[str, float]]] = {name: [] for name in commands}
    told = os.environ | {"OMP_NUM_THREADS": str(cores), "PYTHONWARNINGS": "ignore"}
    for _ in range(ROUNDS):
        for name, command in commands.items():
            done = subprocess.run(command, env=told, capture_output=True, text=True, check=False)
            if done.returncode:
                raise SystemExit(f"{name} failed: {done.stderr[-1500:]}")
            found[name].append(json.loads(done.stdout.splitlines()[-1]))
            print(name, found[name][-1], file=sys.stderr, flush=True)
    return found


def compare(shape: str, cores: int, litgpt: str, eager: bool) -> dict[str, Any]:
    peers = Path(__file__).parent / "peers" / "train_steps.py"
    row = json.dumps(numbers(shape) | {"rows": ROWS, "steps": STEPS})

    def command(kind: str, compiled: bool) -> list[str]:
        python = litgpt if kind == "litgpt" else sys.executable
        return [python, str(peers), kind, "compiled" if compiled else "eager", row]

    kinds = ("herd", "transformers", *(["litgpt"] if litgpt else []))
    commands = {f"{kind}, compiled": command(kind, True) for kind in kinds}
    commands |= {kind: command(kind, False) for kind in (kinds if eager else ("herd",))}
    found = rounds(commands, cores)
    rates = {name: statistics.median(one["tokens_per_second"] for one in rows) for name, rows in found.items()}
    shares = {name: statistics.median(one["share_of_matrix_speed"] for one in rows) for name, rows in found.items()}
    ours = max(rate for name, rate in rates.items() if name.startswith("herd"))
    theirs = max(rate for name, rate in rates.items() if not name.startswith("herd"))
    return {
        "shape": shape,
        "cores": cores,
        "tokens_per_second": {name: round(rate) for name, rate in rates.items()},
        "share_of_matrix_speed": {name: round(share, 3) for name, share in shares.items()},
        "ratio_to_best_peer": round(ours / theirs, 3),
        "raw": {name: [round(one["tokens_per_second"]) for one in rows] for name, rows in found.items()},
    }


if __name__ == "__main__":
    from measuring import machine

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
