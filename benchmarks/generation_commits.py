"""Writing tokens on a CPU: herd's engine now and at a commit before, in turns in one run: `--before CHECKOUT`.

Prints one JSON line with hardware and commit. 64 tokens read and 64 written, greedily, by a model of the shape 10m on
one thread; tokens per processor second, reading included. Where a process's memory lies makes it up to a tenth faster
or slower for as long as it lives, so both are started anew several times: the ratio is the median of those of the
starts, each of the medians of its rounds. The tokens of both are compared.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
from pathlib import Path
from typing import Any

from generation import write_model
from measuring import ask, machine, stand_ready, tell
from peers.ready_to_write import WRITTEN

PEER = Path(__file__).parent / "peers" / "ready_to_write.py"


def one_start(checkouts: dict[str, Path], model: Path, batch: int, rounds: int) -> tuple[dict[str, list[float]], bool]:
    """Tokens per processor second of every round by checkout, and whether both wrote the same."""
    processes, written = {}, {}
    for name, checkout in checkouts.items():
        env = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(checkout)}
        command = [sys.executable, str(PEER), str(model), str(batch)]
        processes[name], row = stand_ready(name, command, env)
        written[name] = row["written"]
    rates: dict[str, list[float]] = {name: [] for name in checkouts}
    for _ in range(rounds):
        for name, process in processes.items():
            rates[name].append(round(batch * WRITTEN / ask(process), 1))
    for process in processes.values():
        process.stdin.close()  # type: ignore[union-attr]
        process.wait()
    return rates, written["now"] == written["before"]


def measure(checkouts: dict[str, Path], model: Path, batch: int, starts: int, rounds: int) -> dict[str, Any]:
    raw, ratios, same = [], [], True
    for _ in range(starts):
        rates, equal = one_start(checkouts, model, batch, rounds)
        raw.append(rates)
        ratios.append(round(statistics.median(rates["now"]) / statistics.median(rates["before"]), 3))
        same = same and equal
    row = {
        "batch": batch,
        "tokens_per_second": {
            name: statistics.median(statistics.median(rates[name]) for rates in raw) for name in checkouts
        },
        "ratio_to_before": statistics.median(ratios),
        "ratios": ratios,
        "same_tokens": same,
        "raw": raw,
    }
    tell("batch", row)
    return row


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--before", type=Path, required=True, help="a checkout of the commit to compare with")
    parser.add_argument("--starts", type=int, default=7)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    checkouts = {"before": options.before.resolve(), "now": Path(__file__).parent.parent.resolve()}
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made) / "model"
        folder.mkdir()
        write_model(folder)
        rows = [measure(checkouts, folder, batch, options.starts, options.rounds) for batch in (1, 64)]
    print(json.dumps({"benchmark": "generation_commits", "compared": rows, **machine()}))
