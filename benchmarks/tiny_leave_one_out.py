"""What each stage of the recipe `tiny` gains: the recipe with one left out at a time, against the whole.

Prints one JSON line for every run, one for every stage, and at the end a Markdown table. What is left out is listed in
`tiny_leave_one_out.yaml`. All runs of a seed share a run folder, so that stages which stay the same are made once;
`--results` names files with rows of earlier calls, which count where the key of the report is the same, so that the
table can be made in several sessions.
A gain is that of the whole over the recipe without the stage, on the same questions of every seed, with a 95 %
interval by paired bootstrap over the questions (needles, of which only counts are recorded: Newcombe's).

    python benchmarks/tiny_leave_one_out.py --out runs/leave_one_out --seeds 41 42 43
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any

import yaml
from measuring import code, machine
from tiny_runs import RunFailedError, RunRecord, TinyRun, earlier_rows, find_row, markdown_table

from herd.core.artifacts import METADATA_FILE
from herd.evals.intervals import Interval, wilson
from herd.report.abilities import AbilityScore

WHOLE = "the whole"
RUNS = "tiny_leave_one_out runs"
# Right, wrong, void.
MARKS = {1.0: "1", 0.0: "0", None: "-"}
OVERLAYS = Path(__file__).with_suffix(".yaml")
_Scores = Mapping[int, Mapping[str, AbilityScore]]  # by seed, then by ability


@dataclass(frozen=True)
class Overlay:
    """A stage left out. changes: settings laid over the recipe's. note: what is there in its place. model: whether a
    model depends on the stage."""

    name: str
    note: str
    changes: Mapping[str, Any] = field(default_factory=dict)
    model: bool = True

    def overrides(self, seed: int) -> tuple[str, ...]:
        """As `--set` takes them."""
        return (f"seed={seed}", *(f"{name}={json.dumps(value)}" for name, value in self.changes.items()))


def overlays_in(file: Path) -> list[Overlay]:
    return [Overlay(**entry) for entry in yaml.safe_load(file.read_text(encoding="utf-8"))]


def measure(
    overlays: Sequence[Overlay],
    recipe: str,
    seed: int,
    folder: Path,
    workers: int,
    earlier: Sequence[Mapping[str, Any]] = (),
) -> dict[str, Any]:
    """By name what the last model of each run can do, or why there is none; prints a row a run, those of `earlier`
    that are of the same report."""
    outcomes: dict[str, Any] = {}
    for overlay in overlays:
        run = TinyRun(folder, recipe, overlay.overrides(seed), sys.executable, workers)
        about = {"benchmark": RUNS, "recipe": recipe, "overrides": list(run.changes), "report": run.report_folder.name}
        row = find_row(earlier, about) or {**about, "left_out": overlay.name, "seed": seed, "code": code(), **machine()}
        if "scores" not in row:
            try:
                if not (run.report_folder / METADATA_FILE).exists():
                    run.make()
                row["scores"] = scores_row(RunRecord.read(run.report_folder).scores)
            except RunFailedError as fault:
                row["failed"] = str(fault)
        print(json.dumps(row), flush=True)
        outcomes[overlay.name] = row["failed"] if "failed" in row else scores_in(row["scores"])
        print(f"seed {seed}: {overlay.name}", file=sys.stderr, flush=True)
    return outcomes


def scores_row(scores: Mapping[str, AbilityScore]) -> dict[str, Any]:
    """Scores for JSON: the interval, the number of questions, and where it is recorded a mark a question."""
    return {
        name: [*score.interval, score.questions, score.right and "".join(MARKS[right] for right in score.right)]
        for name, score in scores.items()
    }


def scores_in(row: Mapping[str, Any]) -> dict[str, AbilityScore]:
    """The scores that `scores_row` wrote."""
    answers = {mark: right for right, mark in MARKS.items()}
    return {
        name: AbilityScore(Interval(*interval), questions, marks and tuple(answers[mark] for mark in marks))
        for name, (*interval, questions, marks) in row.items()
    }


def gain(without: Sequence[AbilityScore], whole: Sequence[AbilityScore]) -> Interval:
    """Of the whole over what lacks a stage, over the questions of all seeds together. Same order of seeds in both."""
    return merge_scores(whole).gain_over(merge_scores(without))


def merge_scores(scores: Sequence[AbilityScore]) -> AbilityScore:
    """The scores of all seeds as one."""
    questions = sum(score.questions for score in scores)
    interval = wilson(round(sum(score.interval.value * score.questions for score in scores)), questions)
    rights = [score.right for score in scores if score.right is not None]
    right = tuple(chain.from_iterable(rights)) if len(rights) == len(scores) else None
    return AbilityScore(interval, questions, right)


def stage_row(overlay: Overlay, without: _Scores, whole: _Scores) -> dict[str, Any]:
    """By ability: its share without the stage, what the stage gains, and the gains of single seeds."""
    abilities = list(dict.fromkeys(chain.from_iterable(whole.values())))
    gains = {}
    for ability in abilities:
        seeds = [seed for seed in whole if ability in whole[seed] and ability in without.get(seed, {})]
        if not seeds:
            gains[ability] = None
            continue
        ours, others = [whole[seed][ability] for seed in seeds], [without[seed][ability] for seed in seeds]
        gains[ability] = {
            "without": round(merge_scores(others).interval.value, 4),
            "gain": [round(value, 4) for value in gain(others, ours)],
            "by_seed": {seed: round(gain([b], [a]).value, 4) for seed, a, b in zip(seeds, ours, others, strict=True)},
            "questions": merge_scores(others).questions,
        }
    return {"left_out": overlay.name, "note": overlay.note, "seeds": sorted(without), "gains": gains}


def verdict(row: Mapping[str, Any]) -> str:
    """Which abilities the stage helps and which it costs, at every seed and by more than the interval, which knows
    nothing of how trainings differ; in plain words where neither can be told."""
    gains = {name: gain for name, gain in row["gains"].items() if gain}
    helps = [name for name, gain in gains.items() if gain["gain"][1] > 0 and min(gain["by_seed"].values()) > 0]
    costs = [name for name, gain in gains.items() if gain["gain"][2] < 0 and max(gain["by_seed"].values()) < 0]
    parts = ([f"helps {', '.join(helps)}"] if helps else []) + ([f"costs {', '.join(costs)}"] if costs else [])
    return "; ".join(parts) or "**gains nothing that these questions show**"


def table(rows: Sequence[Mapping[str, Any]], overlays: Sequence[Overlay], whole: _Scores) -> str:
    """A row a stage, a column an ability: the gain in points with its interval, and the seeds' own."""
    abilities = list(dict.fromkeys(chain.from_iterable(whole.values())))
    by_ability = {name: [scores[name] for scores in whole.values() if name in scores] for name in abilities}
    shares = [merge_scores(scores) for scores in by_ability.values()]
    by_name = {row["left_out"]: row for row in rows}
    lines = [[WHOLE, *(share_cell(score) for score in shares), failure(by_name[WHOLE]) if WHOLE in by_name else ""]]
    for overlay in overlays:
        name, row = f"{overlay.name} ({overlay.note})", by_name.get(overlay.name)
        if not overlay.model:
            lines.append([name, *([""] * len(abilities)), "no model depends on it: nothing to measure here"])
        elif row is None or row.get("failed"):
            lines.append([name, *([""] * len(abilities)), failure(row) if row else "**never run**"])
        else:
            lines.append([name, *(gain_cell(row["gains"].get(ability)) for ability in abilities), verdict(row)])
    return markdown_table(["left out", *abilities, "the stage"], lines)


def failure(row: Mapping[str, Any]) -> str:
    return "**failed**: " + "; ".join(f"seed {seed}: {why}" for seed, why in row["failed"].items())


def share_cell(score: AbilityScore) -> str:
    value, low, high = (f"{100 * number:.1f}" for number in score.interval)
    return f"{value} % [{low}, {high}], {score.questions}"


def gain_cell(gain: Mapping[str, Any] | None) -> str:
    if gain is None:
        return "not measured without"
    value, low, high = (f"{100 * number:+.1f}" for number in gain["gain"])
    seeds = ", ".join(f"{100 * number:+.0f}" for number in gain["by_seed"].values())
    words = f"{value} [{low}, {high}] ({seeds})"
    return words if gain["gain"][1] <= 0 <= gain["gain"][2] else f"**{words}**"


def rows_of(overlays: Sequence[Overlay], outcomes: Mapping[int, Mapping[str, Any]]) -> tuple[list[dict[str, Any]], Any]:
    """A row a stage that was run, and the whole's scores by seed. A run that failed at any seed is no measurement; a
    seed at which the whole failed has a row that says so, and nothing to compare."""
    whole = {seed: by_name[WHOLE] for seed, by_name in outcomes.items() if not isinstance(by_name[WHOLE], str)}
    missing = {seed: by_name[WHOLE] for seed, by_name in outcomes.items() if seed not in whole}
    rows: list[dict[str, Any]] = [{"left_out": WHOLE, "note": "nothing left out", "failed": missing}] if missing else []
    for overlay in overlays:
        results = {seed: by_name[overlay.name] for seed, by_name in outcomes.items() if overlay.name in by_name}
        failed = {seed: reason for seed, reason in results.items() if isinstance(reason, str)}
        if failed or not results:
            rows += [{"left_out": overlay.name, "note": overlay.note, "failed": failed}] if failed else []
        else:
            rows.append(stage_row(overlay, results, whole))
    return rows, whole


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="takes a run folder a seed")
    parser.add_argument("--recipe", default="tiny", help="a packaged name or a YAML file (default: %(default)s)")
    parser.add_argument("--overlays", type=Path, default=OVERLAYS, help="what is left out (default: %(default)s)")
    parser.add_argument("--only", nargs="+", help="names of the overlays to run (default: all)")
    parser.add_argument("--seeds", type=int, nargs="+", default=[41, 42, 43])
    parser.add_argument("--workers", type=int, default=2, help="stages side by side (default: %(default)s)")
    parser.add_argument("--results", type=Path, nargs="+", default=[], help="rows of earlier calls; none is made again")
    options = parser.parse_args()
    earlier = earlier_rows(options.results)
    overlays = overlays_in(options.overlays)
    if unknown := set(options.only or ()) - {overlay.name for overlay in overlays}:
        parser.error(f"{options.overlays} leaves out no {min(unknown)!r}")
    overlays = [overlay for overlay in overlays if not options.only or overlay.name in options.only]
    runs = [Overlay(WHOLE, ""), *(overlay for overlay in overlays if overlay.model)]
    outcomes = {
        seed: measure(runs, options.recipe, seed, options.out / f"seed{seed}", options.workers, earlier)
        for seed in options.seeds
    }
    rows, whole = rows_of(overlays, outcomes)
    for row in rows:
        print(json.dumps({"benchmark": "tiny_leave_one_out", "recipe": options.recipe, **row, **machine()}))
    if not whole:
        raise SystemExit(f"the whole recipe failed: {next(iter(outcomes.values()))[WHOLE]}")
    print(table(rows, overlays, whole))


if __name__ == "__main__":
    main()
