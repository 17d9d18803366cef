"""The acceptance table: every system of the recipe, its bar, and what its check measured."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

import yaml

from herd.core.errors import HerdError, SettingsError

State = Literal["holds", "does not hold", "missing", "slow"]
_TESTS = Path(__file__).parent.parent / "tests"


@dataclass(frozen=True)
class Row:
    """One system and its bar. section: of the Llama 3 report, or `notes` for a question beyond it."""

    row: int
    system: str
    section: str
    bar: str


@dataclass(frozen=True)
class Checked:
    """A row and how its check went. figure: what was measured, in words."""

    row: Row
    state: State
    figure: str


def table() -> list[Row]:
    """All rows in their order."""
    text = Path(__file__).with_name("rows.yaml").read_text(encoding="utf-8")
    return [Row(**{**entry, "section": str(entry["section"])}) for entry in yaml.safe_load(text)]


def check(numbers: Sequence[int], *, slow: bool) -> list[Checked]:
    """Runs the checks of these rows (of all when none is given); rows without one are missing.

    Raises SettingsError for a number the table does not have, and HerdError where the tests are not at hand.
    """
    rows = [one for one in table() if not numbers or one.row in numbers]
    unknown = set(numbers) - {one.row for one in rows}
    if unknown:
        raise SettingsError(f"row {min(unknown)}: the table has rows 1 to {len(table())}")
    if not _TESTS.is_dir():
        raise HerdError("the checks are tests, and this is an installed copy without them; run in a checkout")
    found = _measure([one.row for one in rows], slow=slow)
    return [_judge(one, found.get(str(one.row), [])) for one in rows]


def _measure(numbers: list[int], *, slow: bool) -> dict[str, list[dict[str, str]]]:
    """Outcome and figure of every test marked with one of the rows."""
    with tempfile.TemporaryDirectory() as scratch:
        out = Path(scratch) / "rows.json"
        command = [sys.executable, "-m", "pytest", str(_TESTS), "-q", "-m", "row", f"--rows-json={out}"]
        command += [f"--rows={','.join(map(str, numbers))}", *(["--slow"] if slow else [])]
        done = subprocess.run(command, cwd=_TESTS.parent, capture_output=True, text=True, check=False)
        # 0 and 1: the tests ran; 5: none was chosen. Anything else means that some could not even be read.
        if done.returncode not in (0, 1, 5) or not out.exists():
            raise HerdError(f"the checks could not be run: {(done.stdout + done.stderr).strip()[-400:]}")
        return json.loads(out.read_text(encoding="utf-8"))


def _judge(row: Row, tests: list[dict[str, str]]) -> Checked:
    if not tests:
        return Checked(row, "missing", "")
    figure = "; ".join(test["figure"] for test in tests if test["figure"])
    outcomes = {test["outcome"] for test in tests}
    if "failed" in outcomes:
        return Checked(row, "does not hold", figure)
    return Checked(row, "slow", "run with --slow") if outcomes == {"skipped"} else Checked(row, "holds", figure)


def as_text(found: Sequence[Checked]) -> str:
    """Number, system, figure, bar, state: a line each, and how many of each state."""
    lines = [
        f"{one.row.row:3} {one.state:14} {one.row.system}: {one.figure or '-'}  (bar: {one.row.bar})" for one in found
    ]
    states = [one.state for one in found]
    counts = ", ".join(f"{states.count(state)} {state}" for state in dict.fromkeys(states))
    return "\n".join([*lines, counts])


def as_json(found: Sequence[Checked]) -> str:
    return json.dumps([{**asdict(one.row), "state": one.state, "figure": one.figure} for one in found], indent=1)


# ---- docs/recipe.md ----

# Where each part of the paper lives: section, what, code, tests, example, what differs.
PARTS = (
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
        "scaling/test_laws.py, scaling/test_forecasts.py",
        "examples/04_scaling_law.py",
        "FLOPs counted exactly, not 6 N D",
    ),
    (
        "3.2.1",
        "forecast of tasks",
        "scaling/downstream.py, scaling/emergence.py",
        "scaling/test_forecasts.py",
        "examples/07_forecast.py",
        "the report prints no form of its sigmoid; ours has chance as its bottom",
    ),
    (
        "3.3.2",
        "cost of a run",
        "scaling/cost.py",
        "scaling/test_cost.py",
        "",
        "how busy a device is comes from table 4's first row; machines and prices are a file",
    ),
    (
        "3.3.2",
        "layout over many devices",
        "train/layout.py, train/team.py",
        "train/test_layout.py, train/test_team.py",
        "",
        "no activation is recomputed in part; layouts are tested on CPU processes, one GPU by itself",
    ),
    (
        "3.3.4",
        "reliability",
        "core/ranks.py, train/checkpoint.py, train/guards.py",
        "core/test_ranks.py, train/test_faults.py, train/test_guards.py",
        "",
        "ranks are watched by signs of life; rules for spikes are not the report's",
    ),
    (
        "3.4.1",
        "pre-training",
        "pretrain/initial.py",
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
    ("4.2.2", "rejection sampling", "align/select.py", "align/", "", "nothing"),
    ("4.1.3", "fine-tuning", "align/sft.py", "align/", "", "nothing"),
    (
        "4.1.4",
        "preferences",
        "align/dpo.py",
        "align/",
        "examples/05_add_a_loss.py",
        "how the NLL term is normalised is not in the report",
    ),
    ("4.1.5", "averaging", "align/average.py", "align/", "", "members differ in their seed"),
    ("5", "evaluation", "evals/", "evals/", "", "on a world with known truth; Wilson intervals"),
)


def markdown() -> str:
    """docs/recipe.md, whole."""
    lines = [
        "# The recipe, part by part",
        "",
        "Made by `herd rows --markdown`; change `herd/rows.py` and `herd/rows.yaml`, not this file.",
        "",
        "| section | part | code in `herd/` | tests in `tests/` | example | what differs from the report |",
        "|---|---|---|---|---|---|",
        *(f"| {' | '.join(part)} |" for part in PARTS),
        "",
        "# The acceptance table",
        "",
        "`herd rows` runs the checks that exist; a row without one is missing, which is not the same as holding.",
        "",
        "| row | system | section | bar | check |",
        "|---|---|---|---|---|",
    ]
    checked = _checked_rows()
    lines += [
        f"| {one.row} | {one.system} | {one.section} | {one.bar} | {checked.get(one.row, 'missing')} |"
        for one in table()
    ]
    return "\n".join(lines) + "\n"


def _checked_rows() -> dict[int, str]:
    """Row -> the test files that check it, found by their marks."""
    import re

    found: dict[int, list[str]] = {}
    for file in sorted(_TESTS.rglob("test_*.py")):
        for number in re.findall(r"@pytest\.mark\.row\((\d+)\)", file.read_text(encoding="utf-8")):
            name = f"`{file.relative_to(_TESTS.parent)}`"
            if name not in found.setdefault(int(number), []):
                found[int(number)].append(name)
    return {number: ", ".join(names) for number, names in found.items()}
