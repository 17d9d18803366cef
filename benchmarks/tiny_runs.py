"""What the benchmarks of the recipe `tiny` share: making a run with an interpreter, and reading what it recorded."""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import Any

import herd
from herd.core.artifacts import Artifact, Report, open_artifact
from herd.core.lineage import lineage, parents
from herd.core.recipe import load_recipe
from herd.evals.results import EvaluationResult
from herd.recipes import recipes
from herd.report.abilities import AbilityScore, ability_scores
from herd.report.verdicts import ReportResult, Verdict

ROOT = Path(__file__).resolve().parent.parent
WEIGHTS = "model.safetensors"

if (imported := Path(herd.__file__).resolve().parent).parent != ROOT:  # plans would not be those of the runs
    raise SystemExit(f"herd is imported from {imported}; set PYTHONPATH to {ROOT}")


class RunFailedError(Exception):
    """`herd run` ended with an error; the message is the end of what it printed."""


@dataclass(frozen=True)
class TinyRun:
    """One recipe in one run folder. changes: as `--set` takes them. workers: stages side by side."""

    folder: Path
    recipe: str
    changes: tuple[str, ...]
    python: str
    workers: int

    @cached_property
    def report_folder(self) -> Path:
        """Where the report of exactly these settings lies once it is made."""
        release = f"python_docs.python={version_of(self.python)['python']}"  # whose documentation the run reads
        return self.folder / "artifacts" / load_recipe(self.recipe, recipes, (*self.changes, release)).plan().key

    def make(self) -> float | None:
        """Makes the run or goes on with it; seconds, None where an earlier call had begun. Raises RunFailedError."""
        began, fresh = time.monotonic(), not self.folder.exists()
        self.folder.mkdir(parents=True, exist_ok=True)
        changes = [part for change in self.changes for part in ("--set", change)]
        command = [self.python, "-m", "herd", "run", self.recipe, "--out", str(self.folder)]
        command += ["--jobs", str(self.workers), *changes]
        with (self.folder / "output.txt").open("ab") as output:
            environment = os.environ | {"PYTHONPATH": str(ROOT)}
            done = subprocess.run(command, stdout=output, stderr=output, env=environment, check=False)
        if done.returncode:
            lines = (self.folder / "output.txt").read_text(encoding="utf-8", errors="replace").strip().splitlines()
            raise RunFailedError(f"exit {done.returncode}: {' '.join(lines[-2:])[-400:]}")
        return time.monotonic() - began if fresh else None


@dataclass(frozen=True)
class RunRecord:
    """What a report and the artifacts it was made of recorded. label, scores: of the model that was measured last.
    checksums: of the weights of every model, by key; final: the key of the last measured one."""

    verdicts: tuple[Verdict, ...]
    label: str
    scores: dict[str, AbilityScore]
    checksums: dict[str, str]
    final: str
    core_seconds: float
    peak_bytes: int

    @classmethod
    def read(cls, report_folder: Path) -> RunRecord:
        """Raises ArtifactError where the report is not whole."""
        report = open_artifact(report_folder)
        assert isinstance(report, Report)
        report.verify()
        history = lineage(report)
        last = [artifact for name, artifact in parents(report) if name == "scores"][-1]
        result = last.result(EvaluationResult)
        costs = [artifact.metadata["cost"] for artifact in history]
        return cls(
            verdicts=report.result(ReportResult).verdicts,
            label=result.label,
            scores=ability_scores(result),
            checksums=weights_of(history),
            final=last.metadata["inputs"]["model"],
            core_seconds=sum(cost["cpu_seconds"] for cost in costs),
            peak_bytes=max(cost["peak_bytes"] for cost in costs),
        )


def weights_of(artifacts: Sequence[Artifact]) -> dict[str, str]:
    """The SHA-256 of the weights of every model, by key."""
    files = {artifact.key: artifact.metadata["files"] for artifact in artifacts}
    return {key: entry[WEIGHTS]["sha256"] for key, entry in files.items() if WEIGHTS in entry}


def version_of(python: str) -> dict[str, str]:
    """The versions of an interpreter and of its PyTorch."""
    program = (
        "import importlib.metadata as m, json, platform; "
        "print(json.dumps({'python': platform.python_version(), 'torch': m.version('torch')}))"
    )
    done = subprocess.run([python, "-c", program], capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{python} is no Python with PyTorch: {done.stderr.strip()[-200:]}")
    versions: dict[str, str] = json.loads(done.stdout)
    return versions


def markdown_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)


def earlier_rows(files: Iterable[Path]) -> list[dict[str, Any]]:
    """The rows that earlier calls printed into these files, one a line; what else they printed is passed over."""
    lines = chain.from_iterable(file.read_text(encoding="utf-8").splitlines() for file in files)
    return [json.loads(line) for line in lines if line.startswith("{")]


def find_row(rows: Iterable[Mapping[str, Any]], wanted: Mapping[str, Any]) -> dict[str, Any] | None:
    """The first row that was measured and has these entries."""
    return next((dict(row) for row in rows if "failed" not in row and wanted.items() <= row.items()), None)
