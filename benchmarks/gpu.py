"""One GPU: training steps of herd, transformers and torchtitan with the shape of Llama 3.2 1B at 8k, and writing.

Prints one JSON line with device and commit. The share is of this device's speed in a large product in bf16, measured
first; FLOPs count causal attention once and the output's product. Writing at batch 1 stands beside the time that
reading every weight once takes at the measured bandwidth. Every candidate is a process of its own, one after another.

python benchmarks/gpu.py [--kinds herd transformers ...] [--rows 2] [--seconds 400] [--profile]
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import torch

PEERS = Path(__file__).parent / "peers"
KINDS = ("herd", "transformers", "torchtitan", "herd-float8", "herd-documents")
SIZE, CONTEXT = "3.2-1b", 8192


def seconds_of(function: Any, times: int) -> float:
    """The median of `times` calls."""
    marks = []
    for _ in range(times + 3):
        start, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        start.record()
        function()
        end.record()
        marks.append((start, end))
    torch.cuda.synchronize()
    return sorted(start.elapsed_time(end) for start, end in marks[3:])[times // 2] / 1e3


def ceilings() -> dict[str, float]:
    """FLOPs a second of a product, and bytes a second of reading and of copying."""
    a, b = (torch.randn(8192, 8192, device="cuda", dtype=torch.bfloat16) for _ in "ab")
    flops = 2 * 8192**3 / seconds_of(lambda: a @ b, 30)
    large = torch.randn(2**31, device="cuda", dtype=torch.bfloat16)
    other = torch.empty_like(large)
    copied = 2 * large.nbytes / seconds_of(lambda: other.copy_(large), 10)
    read = large.nbytes / seconds_of(lambda: torch.amax(large), 10)
    return {"flops": flops, "copy_bytes": copied, "read_bytes": read}


def ask(command: list[str], limit: float) -> dict[str, Any]:
    """The last line of a program that ends in time; what it said otherwise."""
    began = time.perf_counter()
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=max(1.0, limit))
    except subprocess.TimeoutExpired:
        return {"fault": f"took more than {limit:.0f} s"}
    wall = time.perf_counter() - began
    if done.returncode:
        print(done.stdout[-1500:], done.stderr[-2500:], file=sys.stderr, flush=True)
        return {"fault": done.stderr.strip().splitlines()[-1][:300] if done.stderr.strip() else str(done.returncode)}
    lines = done.stdout.splitlines()
    print("\n".join(lines[:-1]), file=sys.stderr, flush=True)
    return {**json.loads(lines[-1]), "wall_seconds": round(wall, 1)}


def trained(kind: str, rows: int, micro_batch: int | None, speed: float, limit: float, profile: bool) -> dict[str, Any]:
    from herd.model.sizes import LLAMA_VOCAB_SIZE, SIZES

    flops = SIZES[SIZE].shape(vocab_size=LLAMA_VOCAB_SIZE, max_seq_len=CONTEXT).training_flops(CONTEXT)
    shape = {"size": SIZE, "rows": rows, "max_seq_len": CONTEXT, "vocab_size": LLAMA_VOCAB_SIZE}
    shape |= {"micro_batch": micro_batch} if micro_batch else {}
    command = [sys.executable, str(PEERS / "gpu_steps.py"), kind, json.dumps(shape)]
    row = ask([*command, *(["--profile"] if profile else [])], limit)
    if "seconds" in row:
        row["tokens_per_second"] = round(rows * CONTEXT / row["seconds"])
        row["share_of_matrix_speed"] = round(row["tokens_per_second"] * flops / speed, 4)
    return {"kind": kind, **row}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kinds", nargs="*", default=list(KINDS))
    parser.add_argument("--rows", nargs="*", type=int, default=[2], help="sequences in a batch")
    parser.add_argument("--micro-batch", type=int, default=0, help="for herd: sequences worked on at once")
    parser.add_argument("--write", nargs="*", default=["herd", "transformers"])
    parser.add_argument("--seconds", type=float, default=400.0, help="what is not begun by then is left out")
    parser.add_argument("--profile", action="store_true")
    options = parser.parse_args()
    began = time.perf_counter()

    def left() -> float:
        return options.seconds - (time.perf_counter() - began)

    most = ceilings()
    torch.cuda.empty_cache()
    print("ceilings", json.dumps(most), file=sys.stderr, flush=True)
    found: dict[str, Any] = {"ceilings": most, "trained": [], "written": []}
    for program in options.write:
        row = ask([sys.executable, str(PEERS / "gpu_writing.py"), program, json.dumps({"size": SIZE})], left())
        for part in row.get("parts", ()):
            if part["batch"] == 1:
                part["over_floor"] = round(part["seconds_per_token"] * most["read_bytes"] / part["bytes"], 3)
        found["written"].append(row)
        print("written", json.dumps(row), file=sys.stderr, flush=True)
    for rows in options.rows:
        for kind in options.kinds:
            micro = options.micro_batch if kind.startswith("herd") and options.micro_batch else None
            row = trained(kind, rows, micro, most["flops"], left(), options.profile)
            found["trained"].append(row)
            print("trained", json.dumps(row), file=sys.stderr, flush=True)
    from measuring import machine

    told = {"device": torch.cuda.get_device_name(), "torch": torch.__version__}
    print(json.dumps({"benchmark": "gpu", **found, **told, **machine()}))


if __name__ == "__main__":
    main()
