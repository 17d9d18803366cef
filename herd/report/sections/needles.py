"""Which needles were found, by length and depth."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from herd.core.artifacts import Artifact
from herd.core.titles import artifact_titles
from herd.evals.needle_grid import grid_cells
from herd.evals.results import EvaluationResult, NeedleCell, TaskResult, TextResult
from herd.pretrain.results import ContextExtension
from herd.report.sections import Section, artifacts_with, fill_template, results_of, sections


@sections.add(ContextExtension, EvaluationResult, order=70)
def needles_section(artifacts: Sequence[Artifact]) -> Section | None:
    """A grid for every gate on the way, and for every model that was measured."""
    grids = list(_grids(artifacts))
    return Section("needles", "Needles", render_heat_maps(grids)) if grids else None


def render_heat_maps(maps: Sequence[Mapping[str, Any]]) -> Any:
    """Grids of `heat_map` as HTML, as `fill_template` gives it."""
    return fill_template(Path(__file__).with_suffix(".html"), needles=maps)


def _grids(artifacts: Sequence[Artifact]) -> Iterator[dict[str, Any]]:
    titles = artifact_titles(artifacts)
    for artifact, result in artifacts_with(artifacts, ContextExtension):
        gate = "passed" if result.gate.passed else "not passed"
        before = f"{titles[artifact.key]}: before ({'switched' if result.switched else 'not switched'})"
        yield heat_map(before, result.needle_before)
        yield heat_map(f"{titles[artifact.key]}: after, gate {gate}", result.needle)
    for result in results_of(artifacts, EvaluationResult):
        if result.needle:
            yield heat_map(f"{result.label}, measured", result.needle)
        yield from task_grids(result.label, result.tasks)


def task_grids(label: str, tasks: Mapping[str, TaskResult | TextResult]) -> Iterator[dict[str, Any]]:
    """A grid of every task that hides needles at depths of lengths."""
    for name, task in tasks.items():
        cells = grid_cells(task.groups) if isinstance(task, TaskResult) else []
        if cells:
            yield heat_map(f"{label}, {name}", cells)


def heat_map(label: str, cells: Sequence[NeedleCell]) -> dict[str, Any]:
    """What was found of the needles at each depth of each length, as `render_heat_maps` reads it. Cells that are not
    there stay empty."""
    depths = sorted({cell.depth for cell in cells})
    rows = []
    for length in sorted({cell.length for cell in cells}):
        by_depth = {cell.depth: cell for cell in cells if cell.length == length}
        hits, total = sum(cell.hits for cell in by_depth.values()), sum(cell.total for cell in by_depth.values())
        rows.append(
            {
                "length": f"{length:,}",
                "cells": [_cell(by_depth.get(depth)) for depth in depths],
                "all": f"{hits / total:.1%}" if total else "",
            }
        )
    return {"label": label, "depths": [f"{depth:.2f}" for depth in depths], "rows": rows}


def _cell(cell: NeedleCell | None) -> dict[str, str]:
    if cell is None or not cell.total:
        return {"text": "", "colour": "transparent"}
    share = cell.hits / cell.total
    # From a pale red by way of a pale yellow to a pale green; dark text is readable on all of them.
    return {"text": f"{share:.0%}", "colour": f"hsl({round(120 * share)} 55% 80%)"}
