"""The bars of the recipe `tiny` over seeds, Python releases and numbers of workers: every run's figures, misses too.

Prints one JSON line a run, and at the end the table as Markdown. Each run has a folder of its own under `--out`; the
same command goes on where it was stopped, and makes no run again that is whole; `--results` names files with rows of
earlier calls, which count where the key of the report is the same, so that the table can be made in several sessions.
The bars are those that the recipe's report holds the run to (`criteria`). A miss is shown as one: nothing is tried
again with another seed.

    python benchmarks/tiny_bars.py --out runs/bars --seeds 40 44 45 46 47 --pythons PYTHON OTHER --workers 1 2
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import chain, product
from pathlib import Path
from typing import Any

from measuring import code, machine
from tiny_runs import RunFailedError, RunRecord, TinyRun, earlier_rows, find_row, markdown_table, version_of

from herd.core.artifacts import atomic_write
from herd.evals.intervals import wilson
from herd.report.verdicts import Verdict


def measure(run: TinyRun, about: Mapping[str, Any]) -> dict[str, Any]:
    """A row about one run; a run that fails is a row too. about: what tells the run from others."""
    row = {"benchmark": "tiny_bars", "recipe": run.recipe, **about, "code": code()}
    try:
        seconds = run.make()
    except RunFailedError as fault:
        return row | {"failed": str(fault)} | machine_without_python()
    record = RunRecord.read(run.report_folder)
    return {
        **row,
        "bars": [bar_row(verdict) for verdict in record.verdicts],
        "final": record.label,
        "weights": record.checksums[record.final],
        "all_weights": record.checksums,
        "seconds": None if seconds is None else round(seconds, 1),
        "core_seconds": round(record.core_seconds, 1),
        "peak_megabytes": round(record.peak_bytes / 1e6),
        **machine_without_python(),
    }


def machine_without_python() -> dict[str, Any]:
    """The machine; a run's interpreter is told by its row."""
    return {name: value for name, value in machine().items() if name != "python"}


def bar_row(verdict: Verdict) -> dict[str, Any]:
    share = None if verdict.share is None else [round(value, 4) for value in verdict.share]
    return {
        "claim": verdict.claim,
        "criterion": verdict.criterion,
        "figure": verdict.figure,
        "holds": verdict.holds,
        "share": share,
        "questions": verdict.questions,
    }


def table(rows: Sequence[Mapping[str, Any]]) -> str:
    """A row a run, a column a bar, and below how often each holds, of all runs, those that failed too."""
    bars = {bar["claim"]: bar["criterion"] for row in rows for bar in row.get("bars", ())}
    head = ["seed", "Python", "PyTorch", "workers", *(f"{claim}: {bar}" for claim, bar in bars.items()), "all", "bits"]
    lines = [
        [
            *(str(row[name]) for name in ("seed", "python", "torch", "workers")),
            *cells(row, list(bars)),
            row["weights"][:8] if "weights" in row else "",
        ]
        for row in rows
    ]
    holding = [sum(holds(row, claim) for row in rows) for claim in bars]
    complete = sum(all(holds(row, claim) for claim in bars) for row in rows)
    lines.append(
        ["all", "", "", "", *(f"{count} of {len(rows)}" for count in holding), f"{complete} of {len(rows)}", ""]
    )
    return markdown_table(head, lines)


def cells(row: Mapping[str, Any], claims: Sequence[str]) -> list[str]:
    """Every bar of a run, and how many hold."""
    if "failed" in row:
        return [*(["**failed**"] * len(claims)), f"**failed**: {row['failed']}"]
    by_claim = {bar["claim"]: bar for bar in row["bars"]}
    held = sum(bar["holds"] for bar in row["bars"])
    return [*(cell(by_claim.get(claim)) for claim in claims), f"{held} of {len(claims)}"]


def cell(bar: Mapping[str, Any] | None) -> str:
    """What was measured with its interval and its number of questions; a miss in bold."""
    if bar is None:
        return "**never measured**"
    if bar["share"] is None:
        words = bar["figure"]
    else:
        value, low, high = (f"{100 * share:.1f}" for share in bar["share"])
        words = f"{value} % [{low}, {high}], {bar['questions']}"
    return words if bar["holds"] else f"**✗ missed: {words}**"


def holds(row: Mapping[str, Any], claim: str) -> bool:
    return any(bar["claim"] == claim and bar["holds"] for bar in row.get("bars", ()))


def pool_table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Every share over all runs that count: one a seed and Python, since workers change no bit."""
    once = {(row["seed"], row["python"], row["torch"]): row for row in rows if "bars" in row}
    lines = []
    for claim in dict.fromkeys(bar["claim"] for row in once.values() for bar in row["bars"]):
        of_claim = [bar for row in once.values() for bar in row["bars"] if bar["claim"] == claim and bar["share"]]
        questions = sum(bar["questions"] for bar in of_claim)
        if questions:
            share = wilson(round(sum(bar["share"][0] * bar["questions"] for bar in of_claim)), questions)
            worst = min(bar["share"][0] for bar in of_claim), max(bar["share"][0] for bar in of_claim)
            value, low, high, least, most = (f"{100 * number:.1f}" for number in (*share, *worst))
            lines.append([claim, f"{value} % [{low}, {high}]", f"{least} to {most} %", f"{questions:,}"])
    return markdown_table(["bar", "all runs together", "lowest and highest", "questions"], lines)


def same_bits(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """A sentence for each seed and interpreter that was run with several numbers of workers."""
    groups: dict[tuple[Any, ...], list[Mapping[str, Any]]] = {}
    for row in rows:
        groups.setdefault((row["seed"], row["python"], row["torch"]), []).append(row)
    sentences = []
    for (seed, python, _), group in groups.items():
        if len(group) < 2:
            continue
        workers = " and ".join(str(row["workers"]) for row in group)
        weights = [row["all_weights"] for row in group if "all_weights" in row]
        if len(weights) < len(group):
            words = "cannot be compared, as one failed"
        elif all(entry == weights[0] for entry in weights):
            words = f"have the same bits in all {len(weights[0])} models"
        else:
            words = f"**differ**, first in {first_difference(weights)}"
        sentences.append(f"- seed {seed}, Python {python}: {workers} workers {words}")
    return sentences


def first_difference(weights: Sequence[Mapping[str, str]]) -> str:
    """The first model, in the order they were made from each other, that is not the same in all runs."""
    keys = dict.fromkeys(chain.from_iterable(weights))
    return next(key for key in keys if any(other.get(key) != weights[0].get(key) for other in weights))


def row_of(run: TinyRun, about: Mapping[str, Any], earlier: Sequence[Mapping[str, Any]] = ()) -> dict[str, Any]:
    """The row of a run: an earlier one, or the one in its folder, where that is of the same report."""
    file = run.folder / "row.json"
    wanted = {"benchmark": "tiny_bars", "recipe": run.recipe, **about}
    row = find_row((*earlier, *earlier_rows([file] if file.exists() else [])), wanted)
    if row is None:
        row = measure(run, about)
        if "failed" not in row:
            atomic_write(file, json.dumps(row))
    print(json.dumps(row), flush=True)
    return row


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="takes a folder a run")
    parser.add_argument("--recipe", default="tiny", help="a packaged name or a YAML file (default: %(default)s)")
    parser.add_argument("--seeds", type=int, nargs="+", default=[40, 44, 45, 46, 47])
    parser.add_argument("--pythons", nargs="+", default=[sys.executable], help="interpreters with what herd needs")
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2], help="stages side by side")
    parser.add_argument("--at-once", type=int, default=1, help="runs side by side (default: %(default)s)")
    parser.add_argument("--results", type=Path, nargs="+", default=[], help="rows of earlier calls; none is made again")
    options = parser.parse_args()
    earlier = earlier_rows(options.results)
    versions = {python: version_of(python) for python in options.pythons}
    runs = {}
    for seed, python, workers in product(options.seeds, options.pythons, options.workers):
        about = {"seed": seed, **versions[python], "workers": workers}
        name = f"seed{seed}-python{about['python']}-torch{about['torch']}-workers{workers}"
        run = TinyRun(options.out / name, options.recipe, (f"seed={seed}",), python, workers)
        about["report"] = run.report_folder.name  # planned here: threads share the registries
        print(f"{name}: {about['report']}", file=sys.stderr)
        runs[run] = about
    with ThreadPoolExecutor(options.at_once) as pool:
        rows = list(pool.map(lambda run: row_of(run, runs[run], earlier), runs))
    print("\n\n".join([table(rows), pool_table(rows), "\n".join(same_bits(rows))]))
    if any("failed" in row for row in rows):
        raise SystemExit(1)


if __name__ == "__main__":
    main()
