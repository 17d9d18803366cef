"""`herd eval compare`: why the scores of two evaluations differ."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from herd.commands.arguments import add_plugins
from herd.commands.command import Command

if TYPE_CHECKING:
    from herd.evals.answer_runs import AnswerRun


def add_options(parser: argparse.ArgumentParser) -> None:
    kinds = "folder of answers (herd eval --out), or lm-eval's samples_*.jsonl or their folder, with `#FILTER` after it"
    parser.add_argument("first", help=kinds)
    parser.add_argument("second", help="the same; points are what it has more than the first")
    parser.add_argument(
        "--also", action="append", default=[], metavar="ANSWERS",
        help="answers of one of the two models under the prompt of the other, which tell model and prompt apart",
    )  # fmt: skip
    parser.add_argument("--page", type=Path, metavar="FILE", help="write a page with all items on which a cause acts")
    parser.add_argument("--json", action="store_true", help="print JSON")
    add_plugins(parser)


def run(options: argparse.Namespace) -> None:
    from herd.core.errors import DataError
    from herd.core.plugins import load_plugins
    from herd.core.terminal import json_line
    from herd.evals.comparison import compare_runs
    from herd.evals.gap_words import comparison_row, table_lines

    load_plugins(options.plugins, "--plugins")
    first, second = _runs(options.first, "first"), _runs(options.second, "second")
    further = [_runs(place, place) for place in options.also]
    pairs = _pair(first, second)
    if not pairs:
        raise DataError(
            f"{options.first} has answers to {', '.join(sorted(first))} and {options.second} to "
            f"{', '.join(sorted(second))}: no task is in both; compare answers to the same tasks"
        )
    compared = []
    for one, other in pairs:
        others = [runs[one.task] for runs in further if one.task in runs]
        compared.append((compare_runs(one, other, others), one, other))
    if options.page is not None:
        from herd.report.gap import render_gap

        page = render_gap(compared)
        try:
            options.page.write_text(page, encoding="utf-8", errors="replace")
        except OSError as fault:
            raise DataError(f"{options.page} cannot be written ({fault.strerror}); name another --page") from None
    if options.json:
        print(json_line([comparison_row(comparison) for comparison, _, _ in compared]))
        return
    for comparison, _, _ in compared:
        for line in table_lines(comparison):
            print(line)
    if options.page is not None:
        print(f"page: {options.page}")


def _runs(place: str, role: str) -> dict[str, AnswerRun]:
    """The runs at a place, by task. role: the label where the place's own name would say nothing."""
    from herd.evals.answer_runs import stored_runs
    from herd.evals.lm_eval_samples import holds_samples, sample_runs

    if holds_samples(place):
        return sample_runs(place)
    return stored_runs(Path(place), Path(place).name or role)


def _pair(first: dict[str, AnswerRun], second: dict[str, AnswerRun]) -> list[tuple[AnswerRun, AnswerRun]]:
    """Runs on one task; where there is one of each and the names differ, these."""
    from dataclasses import replace

    names = sorted(first.keys() & second.keys())
    pairs = [(first[name], second[name]) for name in names]
    if not pairs and len(first) == len(second) == 1:
        pairs = list(zip(first.values(), second.values(), strict=True))
    distinct = []
    for one, other in pairs:
        if one.label == other.label:
            one, other = replace(one, label=f"{one.label} (first)"), replace(other, label=f"{other.label} (second)")
        distinct.append((one, other))
    return distinct


COMMAND = Command("eval compare", "say why the scores of two evaluations differ", add_options, run)
