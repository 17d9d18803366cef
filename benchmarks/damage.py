"""Single faults at random places in all that a run made and in models' folders: flipped bits, cut files, lost files.

Prints one JSON line: how many faults were noticed, had no effect, or neither, by command; how fast files are hashed.
`--runs` is how many of the faults a run also goes on from, which takes seconds each.
"""

from __future__ import annotations

import argparse
import json
import random
import shutil
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from measuring import machine

sys.path.insert(0, str(Path(__file__).parent.parent))

from herd.core.manifests import sha256
from herd.run.runner import run_stages
from tests.damage import Judge, command, damaged, draw, goes_on, of_model, of_run
from tests.smoke import planned


def hashing(folder: Path) -> float:
    """Bytes a second of processor time, of a file of 256 MB that lies in memory."""
    file = folder / "large"
    file.write_bytes(random.Random(0).randbytes(1 << 24) * 16)
    sha256(file)
    began = time.process_time()
    sha256(file)
    return (1 << 28) / (time.process_time() - began)


def artifacts(folder: Path, scratch: Path, faults: int, chance: random.Random) -> Judge:
    judge = Judge()
    rows = next((folder / "artifacts").glob("demonstrate*")) / "dialogues.jsonl"
    every = sorted((folder / "artifacts").iterdir())
    for _ in range(faults):
        artifact = chance.choice(every)
        commands = of_run(folder, artifact, rows, scratch)
        judge.learn(artifact, commands)
        fault = draw(artifact, chance)
        with damaged(fault):
            judge.judge(artifact, commands, fault)
    return judge


def models(folder: Path, scratch: Path, faults: int, chance: random.Random) -> Judge:
    judge = Judge()
    rows = next((folder / "artifacts").glob("demonstrate*")) / "dialogues.jsonl"
    made = sorted((folder / "artifacts").glob("sft-*"))[0]
    copy, brought, given = (scratch / name for name in ("copy", "imported", "exported"))
    shutil.copytree(made, copy)
    assert command("import", made, brought).code == command("export", made, given).code == 0
    for number in range(faults):
        model = (copy, brought, given)[number % 3]
        commands = of_model(model, rows, scratch)
        judge.learn(model, commands)
        fault = draw(model, chance)
        with damaged(fault):
            judge.judge(model, commands, fault)
    return judge


def row(judge: Judge) -> dict[str, Any]:
    return {
        "faults": dict(judge.counts),
        "commands": {name: dict(counts) for name, counts in sorted(judge.by_command.items())},
        "missed": judge.missed,
    }


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--artifacts", type=int, default=260)
    parser.add_argument("--models", type=int, default=200)
    parser.add_argument("--runs", type=int, default=40)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--run", type=Path, help="a finished run of tests/smoke.yaml; made when absent")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as made:
        folder, scratch = Path(made) / "run", Path(made)
        if options.run is None:
            run_stages(planned(), folder, jobs=2)
        else:
            shutil.copytree(options.run, folder)
        chance = random.Random(options.seed)
        found: dict[str, Any] = {"hashed_bytes_per_second": round(hashing(scratch))}
        found["artifacts"] = row(artifacts(folder, scratch, options.artifacts, chance))
        found["models"] = row(models(folder, scratch, options.models, chance))
        every = sorted((folder / "artifacts").iterdir())
        verdicts = []
        for _ in range(options.runs):
            fault = draw(chance.choice(every), chance)
            verdicts.append((goes_on(folder, fault, chance), str(fault)))
        counts = {word: sum(one == word for one, _ in verdicts) for word in ("noticed", "no effect", "missed")}
        found["runs"] = {"faults": counts, "missed": [fault for one, fault in verdicts if one == "missed"]}
    print(json.dumps({"benchmark": "damage", **found, **machine()}))
