"""Writing tokens on a CPU: herd's engine now and at a commit before, in turns in one run: `--before CHECKOUT`.

Prints one JSON line with hardware and commit. 64 tokens read and 64 written, greedily, by a model of the shape 10m on
one thread; tokens per processor second, reading included, the median of the rounds. The tokens of both are compared.
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


def measure(checkouts: dict[str, Path], model: Path, batch: int, rounds: int) -> dict[str, Any]:
    processes, written = {}, {}
    for name, checkout in checkouts.items():
        told = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(checkout)}
        command = [sys.executable, str(PEER), str(model), str(batch)]
        processes[name], row = stand_ready(name, command, told)
        written[name] = row["written"]
    rates: dict[str, list[float]] = {name: [] for name in checkouts}
    for _ in range(rounds):
        for name, process in processes.items():
            rates[name].append(round(batch * WRITTEN / ask(process), 1))
    for process in processes.values():
        process.stdin.close()  # type: ignore[union-attr]
        process.wait()
    middle = {name: statistics.median(found) for name, found in rates.items()}
    row = {
        "batch": batch,
        "tokens_per_second": middle,
        "ratio_to_before": round(middle["now"] / middle["before"], 3),
        "same_tokens": written["now"] == written["before"],
        "raw": rates,
    }
    tell("batch", row)
    return row


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--before", type=Path, required=True, help="a checkout of the commit to compare with")
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    checkouts = {"before": options.before.resolve(), "now": Path(__file__).parent.parent.resolve()}
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made) / "model"
        folder.mkdir()
        write_model(folder)
        rows = [measure(checkouts, folder, batch, options.rounds) for batch in (1, 64)]
    print(json.dumps({"benchmark": "generation_commits", "compared": rows, **machine()}))
