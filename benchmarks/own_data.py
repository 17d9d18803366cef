"""Jobs on real text, rows and models, each one command, and what came of them.

Prints one JSON line for every job: the command, its time, and the figures that its report shows. A job whose command is
in a row of `--results` is not run again; runs go on where they were stopped.

    python benchmarks/own_data.py --data DATA --model SmolLM2-135M-Instruct.Q4_1.gguf --out runs/own_data

data: a folder with text_books/books.tar.xz (Markdown), text_math_stacks/stacks.tar.xz (LaTeX),
text_wikitext2/valid.txt.gz, code_thealgorithms/python.jsonl.gz, warc_docs/docs.warc.gz,
sft_dolly_hhrlhf/train_small.jsonl.gz, pref_hh_rlhf/harmless_base_test_a.jsonl.gz, gsm8k/train.jsonl.gz and
gsm8k/test_sample.jsonl.gz.
"""

from __future__ import annotations

import argparse
import json
import re
import resource
import subprocess
import sys
import tarfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from measuring import code, machine
from tiny_runs import earlier_rows

from herd.core.settings import write_yaml
from herd.evals.results import ValidationCurve
from herd.report.abilities import measured_steps, text_changes
from herd.report.sections import artifacts_with
from herd.scaling.parametric import read_law
from herd.serve.folders import artifacts_in
from herd.train.results import TrainingResult

Figures = dict[str, Any]


@dataclass(frozen=True)
class Job:
    """arguments: of `herd`. figures: reads what came of it from the folder of its run."""

    name: str
    arguments: tuple[str, ...]
    figures: Callable[[Path, str], Figures]


class Inputs:
    """What the jobs read, made of `data` in `out`."""

    def __init__(self, data: Path, out: Path) -> None:
        self._data, self._out = data, out

    def file(self, name: str) -> str:
        path = self._data / name
        if not path.exists():
            raise SystemExit(f"{path} is missing; --data names a folder that has it")
        return str(path)

    def unpacked(self, archive: str) -> str:
        folder = self._out / Path(archive).parent.name
        if not folder.exists():
            with tarfile.open(self.file(archive)) as tar:
                tar.extractall(folder, filter="data")
        return str(folder)


def jobs(inputs: Inputs, model: str, out: Path) -> Iterator[Job]:
    """The jobs in their order; those that go on from another name its run."""
    books, wiki = inputs.unpacked("text_books/books.tar.xz"), inputs.file("text_wikitext2/valid.txt.gz")
    python = inputs.file("code_thealgorithms/python.jsonl.gz")
    columns = ("--text-column", "code=content")
    yield Job(
        "continue",
        ("pretrain", f"books={books}", "--from", model, "--general", f"wiki={wiki}", f"code={python}", *columns,
         "--tokens", "200k", "--length", "512"),
        text_figures,
    )  # fmt: skip
    yield Job(
        "sft",
        ("sft", model, inputs.file("sft_dolly_hhrlhf/train_small.jsonl.gz"), "--epochs", "2", "--early-stop"),
        curve_figures,
    )
    pairs = inputs.file("pref_hh_rlhf/harmless_base_test_a.jsonl.gz")
    yield Job("dpo", ("dpo", model, pairs, "--lora", "16", "--held-out-share", "0.2"), curve_figures)
    yield Job("reward", ("reward", model, pairs, "--lora", "16", "--held-out-share", "0.2"), curve_figures)
    stacks = inputs.unpacked("text_math_stacks/stacks.tar.xz")
    yield Job(
        "ladder",
        ("pretrain", f"books={books}", f"math={stacks}", f"wiki={wiki}", f"code={python}", *columns,
         "--size", "4m", "--tokens", "12M", "--ladder"),
        forecast_figures,
    )  # fmt: skip
    yield Job("plan", ("plan", "llama3-405b", "--json"), plan_figures)
    recipe = out / "llama3-8b-own.yaml"
    recipe.write_text(write_yaml(scaled_recipe(inputs, books, stacks, python)), encoding="utf-8")
    yield Job("scale", ("run", str(recipe), "--scale", "3e-7"), run_figures)


def scaled_recipe(inputs: Inputs, books: str, stacks: str, python: str) -> Mapping[str, Any]:
    return {
        "recipe": "llama3-8b",
        "files": {
            "general": [inputs.file("warc_docs/docs.warc.gz")],
            "math": [stacks],
            "code": [python],
            "multilingual": [books],
        },
        "columns": {"code": {"text": "content"}},
        # A rehearsal reads some hundred rows of each kind by itself.
        "alignment": {
            "verifier": "numeric_match",
            "rounds": [
                {
                    "preferences": [inputs.file("pref_hh_rlhf/harmless_base_test_a.jsonl.gz")],
                    "problems": {"math": [inputs.file("gsm8k/train.jsonl.gz")]},
                    "dialogues": {"general": [inputs.file("sft_dolly_hhrlhf/train_small.jsonl.gz")]},
                }
            ],
            "tests": [inputs.file("gsm8k/test_sample.jsonl.gz")],
        },
    }


def text_figures(run: Path, printed: str) -> Figures:
    """Held-out nats a token by source before and after, and the change as a share with its interval, paired by rows."""
    changes = {}
    for change in text_changes(measured_steps(artifacts_in(run))):
        before, after = change.before.nats_per_token, change.after.nats_per_token
        changes[change.name] = {"before": before, "after": after, "rise": list(change.rise), "worse": change.is_worse}
    return {"nats_a_token": changes}


def curve_figures(run: Path, printed: str) -> Figures:
    """Held-out figures by epoch, and the change to the model that was kept."""
    ((_, curve),) = artifacts_with(artifacts_in(run), ValidationCurve)
    return {
        "examples": curve.examples,
        "points": [
            {"epoch": point.epoch, **{name: list(value) for name, value in point.figures.items()}}
            for point in curve.points
        ],
        "kept_after_step": curve.kept,
        "stopped_early": curve.stopped_early,
        "changes": {name: list(value) for name, value in curve.changes.items()},
    }


def forecast_figures(run: Path, printed: str) -> Figures:
    """The base's held-out loss, and what the ladder's law foretold of it."""
    trained = [
        result
        for artifact, result in artifacts_with(artifacts_in(run), TrainingResult)
        if artifact.key.startswith("pretrain-")
    ]
    base, fit = max(trained, key=lambda result: result.flops), read_law(run)
    low, high = fit.loss_interval(base.num_params, base.tokens, predictive=True)
    return {
        "weights": base.num_params,
        "tokens": base.tokens,
        "flops": base.flops,
        "models_of_the_ladder": len(trained) - 1,
        "measured": base.loss,
        "forecast": fit.loss(base.num_params, base.tokens),
        "interval": [low, high],
        "inside": low <= base.loss <= high,
    }


def plan_figures(run: Path, printed: str) -> Figures:
    return json.loads(printed)


def run_figures(run: Path, printed: str) -> Figures:
    return {
        "stages": len(artifacts_in(run)),
        "reports": sum(artifact.key.startswith("write_report") for artifact in artifacts_in(run)),
    }


def command_of(job: Job) -> str:
    """As a person writes it: without the folders of this machine."""
    return " ".join(("herd", *(re.sub(r"[^=\s]*/", "", word) for word in job.arguments)))


def measure(job: Job, out: Path) -> dict[str, Any]:
    """Runs a job and says what it took and what came of it; a failure is a row too."""
    folder = out / job.name
    where = () if job.arguments[0] == "plan" else ("--out", str(folder))
    command = [sys.executable, "-m", "herd", *job.arguments, *where]
    before, begun = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    after, seconds = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic() - begun
    row = {
        "benchmark": "own_data",
        "job": job.name,
        "command": command_of(job),
        "code": code(),
        "seconds": round(seconds, 1),
        "core_seconds": round(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, 1),
        **machine(),
    }
    if ran.returncode:
        return row | {"failed": ran.stderr.strip().splitlines()[-1:]}
    return row | {"figures": job.figures(folder, ran.stdout)}


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder of the inputs")
    parser.add_argument("--model", type=Path, required=True, help="a GGUF file, or a folder in Hugging Face's layout")
    parser.add_argument("--out", type=Path, required=True, help="takes a folder a job")
    parser.add_argument("--jobs", nargs="+", default=[], help="only these (default: all)")
    parser.add_argument("--results", type=Path, nargs="+", default=[], help="rows of earlier calls; none is made again")
    options = parser.parse_args(arguments)
    options.out.mkdir(parents=True, exist_ok=True)
    model = options.model
    if model.is_file():
        model = options.out / "imported"
        if not model.exists():
            subprocess.run([sys.executable, "-m", "herd", "import", str(options.model), str(model)], check=True)
    earlier = {row["command"]: row for row in earlier_rows(options.results) if "figures" in row}
    for job in jobs(Inputs(options.data, options.out), str(model), options.out):
        if options.jobs and job.name not in options.jobs:
            continue
        row = earlier.get(command_of(job)) or measure(job, options.out)
        print(json.dumps(row), flush=True)


if __name__ == "__main__":
    main()
