"""A run on two ranks that is disturbed at random: ranks killed, ranks frozen; it must end as the undisturbed one did.

Prints one JSON line. A stage of a miniature recipe trains with a checkpoint every half second. `--kills 100` takes
about a quarter of an hour.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from measuring import machine

from herd.core.artifacts import read_metadata

RECIPE = Path(__file__).parent.parent / "tests" / "smoke.yaml"
SILENT_SECONDS = 4.0


def command(out: Path, tokens: int, layout: str) -> list[str]:
    """`herd run` up to the base model, the only one of its stages that is spread."""
    name, ranks = layout.split("=")
    changes = [f"base.layout.{name}={ranks}", f"base.tokens={tokens}", "base.size.n_heads=4", "ladder.budgets=[2.0e+9]"]
    sets = [part for change in changes for part in ("--set", change)]
    watched = ["--save-every", "0.5", "--heartbeat-timeout", str(SILENT_SECONDS), "--max-restarts", "50"]
    told = ["--out", str(out), "--jobs", "1", "--until", "pretrain", *watched]
    return [sys.executable, "-m", "herd", "run", str(RECIPE), *told, *sets]


def ranks_of(out: Path) -> list[int]:
    """Processes that work as ranks of the run in `out`."""
    found = []
    for file in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = file.read_bytes().split(b"\0")
        except OSError:
            continue
        if b"herd.run.rank" in words and any(str(out).encode() in word for word in words):
            found.append(int(file.parent.name))
    return sorted(found)


def progress_of(out: Path, since: float) -> float | None:
    """The share that ranks have trained; None until those that were started after `since` have got on."""
    for file in out.glob("scratch/*/ranks/progress.json"):
        try:
            if file.stat().st_mtime > since:
                completed, total, _ = json.loads(file.read_text(encoding="utf-8"))
                return completed / total
        except (OSError, ValueError):  # the ranks have just ended, or are writing
            continue
    return None


def disturb(run: subprocess.Popen[bytes], out: Path, kills: int, freezes: int, seed: int) -> dict[str, int]:
    """Kills and freezes ranks at random moments until so many are done or the run has ended."""
    chance = random.Random(seed)
    todo = [signal.SIGKILL] * kills + [signal.SIGSTOP] * freezes
    chance.shuffle(todo)
    done = {"killed": 0, "frozen": 0}
    for number, what in enumerate(todo):
        while not ranks_of(out) and run.poll() is None:
            time.sleep(0.05)
        began = time.time()
        if number % 2:  # in training, a random share of it after its first step
            share, target = chance.uniform(0.0, 1.0 / len(todo)), None
            while run.poll() is None:
                reached = progress_of(out, began)
                target = reached + share if target is None and reached is not None else target
                if reached is not None and target is not None and reached >= target:
                    break
                time.sleep(0.02)
        else:  # from right after the start, when ranks still import, to their first step
            until = time.monotonic() + chance.uniform(0.0, 9.0)
            while time.monotonic() < until and progress_of(out, began) is None and run.poll() is None:
                time.sleep(0.02)
        while run.poll() is None:
            try:
                os.kill(chance.choice(ranks_of(out)), what)
            except (IndexError, ProcessLookupError):  # they are being started again, or one has just ended
                time.sleep(0.05)
                continue
            done["killed" if what == signal.SIGKILL else "frozen"] += 1
            break
    return done


def spread(out: Path) -> list[Path]:
    """Artifacts of the stages that ranks made together."""
    folders = sorted((out / "artifacts").glob("pretrain-*"))
    layouts = {folder: read_metadata(folder)["settings"]["settings"]["layout"] for folder in folders}
    return [folder for folder, layout in layouts.items() if any(ranks > 1 for ranks in layout.values())]


def outcome(out: Path) -> dict[str, Any]:
    """What the spread stages left: hashes of their weights, and every loss."""
    rows = {}
    for folder in spread(out):
        steps = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
        weights = hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest()
        rows[folder.name] = {"weights": weights, "losses": [[step["number"], step["loss"]] for step in steps]}
    return rows


def measure(
    kills: int, freezes: int, tokens: int, layout: str, seed: int, folder: Path, start: Path | None = None
) -> dict[str, Any]:
    """start: a run of the same recipe on one device, whose stages before the spread one need not be made again."""
    calm, rough = folder / "calm", folder / "rough"
    if start is not None:
        shutil.copytree(start / "artifacts", calm / "artifacts")
    began = time.monotonic()
    subprocess.run(command(calm, tokens, layout), check=True, stdout=subprocess.DEVNULL)
    calm_seconds = time.monotonic() - began
    made_again = [f"{path.name}*" for path in spread(calm)]
    shutil.copytree(calm, rough, ignore=shutil.ignore_patterns(*made_again))  # the stages before are made
    began = time.monotonic()
    run = subprocess.Popen(command(rough, tokens, layout), stdout=subprocess.DEVNULL)
    done = disturb(run, rough, kills, freezes, seed)
    ended = run.wait()
    a, b = outcome(calm), outcome(rough) if ended == 0 else {}
    return {
        "layout": layout,
        **done,
        "exit": ended,
        "steps": sum(len(row["losses"]) for row in a.values()),
        "weights_equal": {n: r["weights"] for n, r in a.items()} == {n: r["weights"] for n, r in b.items()},
        "losses_equal": {n: r["losses"] for n, r in a.items()} == {n: r["losses"] for n, r in b.items()},
        "seconds": {"calm": round(calm_seconds, 1), "disturbed": round(time.monotonic() - began, 1)},
    }


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=80)
    parser.add_argument("--freezes", type=int, default=20)
    parser.add_argument("--tokens", type=int, default=2_000_000)
    parser.add_argument("--layout", default="data=2")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as made:
        row = measure(options.kills, options.freezes, options.tokens, options.layout, options.seed, Path(made))
    print(json.dumps({"benchmark": "faults", **row, **machine()}))
