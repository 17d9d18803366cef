"""`herd eval contamination`: how much of a task's items stands in a corpus, and what that adds to its score."""

from __future__ import annotations

import argparse
from pathlib import Path

from herd.commands.arguments import amount, bounded_number
from herd.commands.command import Command


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("answers", type=Path, help="folder of answers, as herd eval --out writes it")
    parser.add_argument(
        "--corpus",
        type=Path,
        required=True,
        metavar="PATH",
        help="an artifact, a folder or file of Parquet, JSON lines, text",
    )
    parser.add_argument("--column", default="text", help="of rows (default: %(default)s)")
    parser.add_argument("--ngram", type=amount, default=8, metavar="N", help="tokens in a row (default: %(default)s)")
    parser.add_argument(
        "--threshold", type=bounded_number(0.0, 1.0), default=0.8, metavar="SHARE",
        help="of the check with planted items, from which share on one is found (default: %(default)s)",
    )  # fmt: skip
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(options: argparse.Namespace) -> None:
    from herd.core.terminal import json_line
    from herd.evals.answers import AnswerStore
    from herd.evals.corpora import iter_texts
    from herd.evals.corpus_overlap import measure_overlap, overlap_lines, write_overlap

    tasks = AnswerStore(options.answers).tasks()
    overlaps = measure_overlap(
        {name: list(answers.records().values()) for name, answers in tasks.items()},
        iter_texts(options.corpus, options.column),
        ngram=options.ngram,
        threshold=options.threshold,
    )
    for overlap in overlaps:
        write_overlap(tasks[overlap.task].folder, overlap)
    if options.json:
        print(json_line([overlap.to_row() for overlap in overlaps]))
        return
    for overlap in overlaps:
        for line in overlap_lines(overlap):
            print(line)


COMMAND = Command(
    "eval contamination",
    "measure how much of a task stands in a corpus, and what that adds to its score",
    add_options,
    run,
)
