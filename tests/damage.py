"""Single faults in files, and what commands make of them: noticed, without effect, or neither."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import random
import shutil
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from herd.cli import main
from herd.core.stage import walk
from herd.run.runner import run_stages
from tests.smoke import planned

WAYS = ("flip", "truncate", "delete")
_WORDS = ("damaged", "missing", "made again", "cannot be read", "not among")


@dataclass(frozen=True)
class Fault:
    """One file with one fault. at: the bit that is flipped, or how many bytes stay."""

    file: Path
    way: str
    at: int

    def __str__(self) -> str:
        return f"{self.way} {self.file.parent.name}/{self.file.name} at {self.at}"


def draw(folder: Path, chance: random.Random) -> Fault:
    """A fault in a file of `folder`; flips are as frequent as the two others together."""
    file = chance.choice([one for one in sorted(folder.rglob("*")) if one.is_file() and one.stat().st_size])
    way = chance.choice(("flip", "flip", "truncate", "delete"))
    size = file.stat().st_size
    return Fault(file, way, chance.randrange(8 * size) if way == "flip" else chance.randrange(size))


@contextlib.contextmanager
def damaged(fault: Fault) -> Iterator[None]:
    """The file with its fault, and as it was after the block."""
    before, times = fault.file.read_bytes(), fault.file.stat()
    data = bytearray(before)
    if fault.way == "delete":
        fault.file.unlink()
    elif fault.way == "truncate":
        fault.file.write_bytes(data[: fault.at])
    else:
        data[fault.at // 8] ^= 1 << fault.at % 8
        fault.file.write_bytes(data)
    try:
        yield
    finally:
        if fault.file.parent.exists():
            fault.file.write_bytes(before)
            # A run's artifacts are listed by the age of their cards.
            os.utime(fault.file, ns=(times.st_atime_ns, times.st_mtime_ns))


# ---- commands ----


@dataclass(frozen=True)
class Outcome:
    """code: what the command ended with. said: both its outputs. made: hashes of what it wrote."""

    code: int
    said: str
    made: str = ""

    @property
    def noticed(self) -> bool:
        return self.code != 0 or any(word in self.said for word in _WORDS)


def command(*words: str | Path, makes: Path | None = None, types: str = "") -> Outcome:
    """`herd` with these words, in this process. makes: what it writes, which is taken away again."""
    said = io.StringIO()
    stdin, sys.stdin = sys.stdin, io.StringIO(types)
    try:
        with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
            code = main([str(word) for word in words])
    finally:
        sys.stdin = stdin
    made = "" if makes is None else _hashes(makes)
    if makes is not None:
        shutil.rmtree(makes, ignore_errors=True)
        makes.unlink(missing_ok=True)
    return Outcome(code, said.getvalue(), made)


def _hashes(path: Path) -> str:
    files = sorted(path.rglob("*")) if path.is_dir() else [path] if path.exists() else []
    return json.dumps([[one.name, hashlib.sha256(one.read_bytes()).hexdigest()] for one in files if one.is_file()])


Command = Callable[[], Outcome]


def of_model(model: Path, rows: Path, scratch: Path) -> dict[str, Command]:
    """Every command that reads a model's folder; some refuse some models, which is an outcome like others."""
    out, single = scratch / "made", scratch / "made.gguf"
    return {
        "chat": lambda: command("chat", model, "--temperature", "0", types="2 + 2 = ?\n"),
        "eval": lambda: command("eval", model, "tools"),
        "export": lambda: command("export", model, out, makes=out),
        "export gguf": lambda: command("export", model, single, makes=single),
        "import": lambda: command("import", model, out, makes=out),
        "compare": lambda: _compared(model, scratch),
        "show --mask": lambda: command("show", rows, "--mask", model),
        "show": lambda: command("show", model),
        "show --verify": lambda: command("show", model, "--verify"),
    }


def _compared(model: Path, scratch: Path) -> Outcome:
    from herd.core.errors import HerdError
    from herd.generate.engine import SamplingParams
    from herd.serve.compare import Comparison

    try:
        held = Comparison([model, model], scratch / "kept.jsonl", SamplingParams(temperature=0.0, max_tokens=8))
        return Outcome(0, str(held.ask([{"role": "user", "content": "2 + 2 = ?"}])["answers"]))
    except HerdError as fault:
        return Outcome(fault.exit_code, str(fault))


def of_run(folder: Path, artifact: Path, rows: Path, scratch: Path) -> dict[str, Command]:
    """Every command that reads a run or one of its artifacts."""
    found: dict[str, Command] = {
        "show run": lambda: command("show", folder),
        "show run --verify": lambda: command("show", folder, "--verify"),
        "show": lambda: command("show", artifact),
        "show --verify": lambda: command("show", artifact, "--verify"),
        "chat run": lambda: command("chat", folder, "--temperature", "0", types="2 + 2 = ?\n"),
    }
    if (artifact / "config.json").exists() or artifact.name.startswith(("pretrain", "sft", "dpo")):
        found |= of_model(artifact, rows, scratch)
    if any((artifact / name).exists() for name in ("dialogues.jsonl", "preferences.jsonl")):
        models = sorted((folder / "artifacts").glob("sft-*"))
        found["show --mask"] = lambda: command("show", artifact, "--mask", models[0])
    return found


class Judge:
    """Holds what commands do with a fault against what they do without one."""

    def __init__(self) -> None:
        self._clean: dict[tuple[str, str], Outcome] = {}
        self.counts: Counter[str] = Counter()
        self.by_command: dict[str, Counter[str]] = {}
        self.missed: list[str] = []

    def learn(self, where: Path, commands: dict[str, Command]) -> None:
        """What the commands do while nothing is wrong."""
        for name, ask in commands.items():
            if (str(where), name) not in self._clean:
                self._clean[str(where), name] = ask()

    def judge(self, where: Path, commands: dict[str, Command], fault: Fault) -> None:
        """Counts the fault as noticed or without effect when every command saw or bore it."""
        verdicts = []
        for name, ask in commands.items():
            now = ask()
            verdict = "no effect" if now == self._clean[str(where), name] else "noticed" if now.noticed else "missed"
            if verdict == "missed":
                self.missed.append(f"{fault}: {name}: {now.said[-200:]!r}")
            self.by_command.setdefault(name, Counter())[verdict] += 1
            verdicts.append(verdict)
        worst = next(one for one in ("missed", "noticed", "no effect") if one in verdicts)
        self.counts[worst] += 1


# ---- runs that go on ----


def results(folder: Path) -> dict[str, str]:
    """Hashes of everything that a run made, but for times."""
    return {one.name: _hashes_of(one) for one in sorted((folder / "artifacts").iterdir())}


def _hashes_of(artifact: Path) -> str:
    files = {one for one in artifact.rglob("*") if one.is_file() and one.name not in ("artifact.json", "report.html")}
    rows = {}
    for file in sorted(files):
        data = file.read_bytes()
        if file.name == "metrics.jsonl":  # holds seconds
            data = repr([json.loads(line)["loss"] for line in data.splitlines()]).encode()
        rows[str(file.relative_to(artifact))] = hashlib.sha256(data).hexdigest()
    return json.dumps(rows)


def goes_on(folder: Path, fault: Fault, chance: random.Random) -> str:
    """What a run makes of a fault when one stage that reads the damaged artifact has to be made again."""
    target = planned()
    clean = results(folder)
    key = next(part for part in fault.file.parts if (folder / "artifacts" / part).is_dir() and part in clean)
    readers = [plan.key for plan in walk(target) if key in [parent.key for parent in plan.parents]]
    said: list[str] = []

    class Heard:
        def __getattr__(self, name: str) -> Callable[..., None]:
            return lambda *words: said.append(str(words[0])) if name == "warn" else None

    with damaged(fault):
        if readers:
            shutil.rmtree(folder / "artifacts" / chance.choice(readers))
        run_stages(target, folder, jobs=0, display=Heard())  # type: ignore[arg-type]
        same = results(folder) == clean
        heard = any(word in line for word in _WORDS for line in said)
        if same and heard:  # what was made again stays
            made = fault.file.read_bytes()
    if same and heard:
        fault.file.write_bytes(made)
    return "missed" if not same else "noticed" if heard else "no effect"
