"""docs/recipe.md: where each part of the paper lives, and the acceptance table."""

from __future__ import annotations

import re

from herd.acceptance.check import TESTS
from herd.acceptance.table import table

# Where each part of the paper lives: section, what, code, tests, example, what differs.
PAPER_PARTS = (
    (
        "3.1",
        "raw text",
        "corpus/sources.py",
        "corpus/test_sources.py",
        "examples/01_own_data.py",
        "three small sources",
    ),
    (
        "3.1.1",
        "curation",
        "corpus/stages.py",
        "corpus/test_curate.py",
        "examples/02_add_a_filter.py",
        "thresholds the report does not give are published ones or ours, and said to be so",
    ),
    (
        "3.1.1",
        "extraction",
        "corpus/extract.py, corpus/native/",
        "corpus/test_extract.py",
        "",
        "its parser is not described; ours is",
    ),
    (
        "3.1.1",
        "deduplication",
        "corpus/dedup/",
        "corpus/test_dedup.py",
        "",
        "long passages by sorted hashes of their runs instead of a suffix array",
    ),
    (
        "3.1.1",
        "model-based quality",
        "corpus/quality.py, corpus/labels.py",
        "corpus/test_quality.py",
        "examples/06_quality_and_topics.py",
        "fastText, or a linear model on static embeddings instead of DistilRoberta",
    ),
    (
        "3.1.1",
        "curations compared",
        "mixing/corpora.py, studies/curation.py",
        "mixing/test_corpora.py, studies/test_curation.py",
        "",
        "DataComp-LM's way at a small size; the report names no such comparison",
    ),
    (
        "3.1.2",
        "topics of documents",
        "corpus/topics.py",
        "corpus/test_topics.py",
        "examples/06_quality_and_topics.py",
        "24 topics of Wettig et al. 2025; the report names none",
    ),
    (
        "3.1.2",
        "data mix",
        "mixing/",
        "mixing/test_methods.py, mixing/test_comparing.py",
        "",
        "DoReMi, DoGE, RegMix and a bandit beside the report's forecasts by hand",
    ),
    (
        "3.1.3",
        "annealing as a judge of data",
        "mixing/probe.py",
        "mixing/test_probe.py",
        "",
        "held-out losses beside the report's benchmarks",
    ),
    (
        "5.1.4",
        "contamination",
        "corpus/contamination.py",
        "corpus/test_contamination.py",
        "",
        "runs of words, not of tokens",
    ),
    (
        "3.2",
        "tokenizer",
        "tokens/",
        "tokens/",
        "",
        "1,024 pairs in `tiny` instead of 128,000; digits stay single there",
    ),
    ("3.2", "model", "model/", "model/", "examples/03_load_in_transformers.py", "nothing: exact"),
    (
        "3.2.1",
        "scaling law",
        "scaling/laws.py, scaling/parametric.py",
        "scaling/test_laws.py, scaling/test_parametric.py",
        "examples/04_scaling_law.py",
        "FLOPs counted exactly, not 6 N D",
    ),
    (
        "3.2.1",
        "forecast of tasks",
        "scaling/downstream.py, scaling/emergence.py",
        "scaling/test_downstream.py, scaling/test_emergence.py",
        "examples/07_forecast.py",
        "the report prints no form of its sigmoid; ours has chance as its bottom",
    ),
    (
        "3.3.2",
        "cost of a run",
        "train/cost.py, train/memory.py, recipes/costing.py",
        "train/test_cost.py, train/test_memory.py, recipes/test_costing.py",
        "",
        "how busy a device is comes from table 4's first row; machines and prices are a file",
    ),
    (
        "3.3.2",
        "layout over many devices",
        "train/layout.py, train/distributed.py",
        "train/test_layout.py, train/test_team.py",
        "",
        "layouts are tested on CPU processes, one GPU by itself",
    ),
    (
        "3.3.4",
        "reliability",
        "run/ranks.py, train/checkpoint.py, train/guards.py",
        "run/test_ranks.py, train/test_faults.py, train/test_guards.py",
        "",
        "ranks are watched by signs of life; rules for spikes are not the report's",
    ),
    (
        "3.4.1",
        "pre-training",
        "pretrain/pretrain.py",
        "train/",
        "",
        "initialisation and AdamW's betas are not in the report",
    ),
    (
        "3.4.2",
        "long context",
        "pretrain/long_context.py",
        "evals/test_needle.py",
        "",
        "stage lengths are not in the report; how short rows have to recover is a setting",
    ),
    ("3.4.3", "annealing", "pretrain/anneal.py", "train/", "", "which checkpoints are averaged is not in the report"),
    ("4.1.1", "chat format", "tokens/chat.py", "tokens/test_chat.py", "", "five forms of tool calls, by name"),
    ("4.1.2", "reward model", "align/reward.py", "align/", "", "one row an answer instead of one row a prompt"),
    ("4.2.2", "rejection sampling", "align/rejection_sampling.py", "align/", "", "nothing"),
    ("4.1.3", "fine-tuning", "align/sft.py", "align/", "", "nothing"),
    (
        "4.1.4",
        "preferences",
        "align/dpo.py",
        "align/",
        "examples/05_add_a_loss.py",
        "how the NLL term is normalised is not in the report",
    ),
    (
        "-",
        "held-out rows, early stop",
        "align/splitting.py, evals/validation.py",
        "align/test_splitting.py, evals/test_validation.py",
        "",
        "not in the report",
    ),
    ("4.1.5", "averaging", "align/average.py", "align/", "", "members differ in their seed"),
    ("5", "evaluation", "evals/", "evals/", "", "`tiny` asks about a made-up world with known truth; Wilson intervals"),
)


def markdown() -> str:
    """docs/recipe.md, whole."""
    lines = [
        "# The recipe, part by part",
        "",
        "Made by `herd acceptance --markdown`; change `herd/acceptance/`, not this file.",
        "",
        "| section | part | code in `herd/` | tests in `tests/` | example | what differs from the report |",
        "|---|---|---|---|---|---|",
        *(f"| {' | '.join(part)} |" for part in PAPER_PARTS),
        "",
        "# The acceptance table",
        "",
        "`herd acceptance` runs the checks. A part without one is missing; a row holds when every part was run and "
        "holds,",
        "now or, for slow parts, in the record kept for this very code (`benchmarks/results/acceptance.jsonl`).",
        "",
        "| row | system | section | part | bar | check |",
        "|---|---|---|---|---|---|",
    ]
    files = test_files()
    for row in table():
        for index, (part, criterion) in enumerate(row.parts.items()):
            head = f"{row.row} | {row.system} | {row.section}" if index == 0 else " | | "
            checks = ", ".join(f"`{name}`" for name in files.get((row.row, part), [])) or "missing"
            lines.append(f"| {head} | {part} | {criterion} | {checks} |")
    return "\n".join(lines) + "\n"


_MARK = re.compile(r'pytest\.mark\.row\((\d+)(?:, "(\w+)")?\)')


def test_files() -> dict[tuple[int, str], list[str]]:
    """(row, part) -> the test files that check it, found by their marks."""
    only = {row.row: next(iter(row.parts)) for row in table() if len(row.parts) == 1}
    files: dict[tuple[int, str], list[str]] = {}
    for file in sorted(TESTS.rglob("test_*.py")):
        for number, part in _MARK.findall(file.read_text(encoding="utf-8")):
            names = files.setdefault((int(number), part or only.get(int(number), "")), [])
            name = str(file.relative_to(TESTS.parent))
            if name not in names:
                names.append(name)
    return files
