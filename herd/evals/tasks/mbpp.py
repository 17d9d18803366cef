"""MBPP: small programs from a sentence and three tests, and run."""

from __future__ import annotations

import re
import textwrap

from herd.evals.benchmarks import (
    BenchmarkQuestions,
    GenerationSettings,
    Layout,
    as_grade,
    benchmark,
    choose_rows,
    prompt_of,
    with_examples,
)
from herd.evals.datasets import BenchmarkData, DatasetRow, RowForm, benchmark_rows, has_split
from herd.evals.task import Example, Grade, ModelAnswer, Task
from herd.judge.plain_numpy import with_plain_numpy
from herd.judge.programs import MBPP_STOPS, extract_code, grade_program
from herd.sandbox.server import SandboxServer

TEST_IDS, SHOT_IDS = range(11, 511), (2, 3, 4)  # Source: Austin et al. 2021, 2.1; lm-eval shows these


def _row(row: DatasetRow, file: str) -> DatasetRow:
    before = row.get("test_setup_code") or "\n".join(row.get("test_imports") or ())
    number = int(row["task_id"])
    entry_point = "" if not row.get("test") else _entry_point(row["code"], row["test"])
    return {
        "id": f"{number}",
        "number": number,
        "text": row.get("text") or row["prompt"],
        "listed": list(row["test_list"]),
        "tests": _checked(row["test"], entry_point) if entry_point else "\n".join((before, *row["test_list"])),
        "entry_point": entry_point,
        "code": row["code"],
    }


def _entry_point(code: str, test: str) -> str:
    """The function of the solution that the tests call, of several the last. Raises ValueError where they call none."""
    names = re.findall(r"^def (\w+)", code, re.MULTILINE)
    called = [name for name in names if re.search(rf"\b{name}\(", test)]
    if not called:
        raise ValueError("the tests call no function of the solution")
    return called[-1]


def _checked(test: str, entry_point: str) -> str:
    """A program of tests as HumanEval's `check`, of which the sandbox knows when it is over."""
    return with_plain_numpy(f"def check(candidate):\n    {entry_point} = candidate\n{textwrap.indent(test, '    ')}\n")


_FORMS = (
    RowForm(("task_id", "text", "code", "test_list"), _row),
    RowForm(("task_id", "prompt", "code", "test_list"), _row),
)
_SPLITS = {"test": ("test",), "prompt": ("prompt",), "train": ("train",), "validation": ("validation", "val")}
DATA = BenchmarkData(
    "google-research-datasets/mbpp", _FORMS, config="full", names=("mbpp",), sizes={"test": 500}, splits=_SPLITS
)
PLUS = BenchmarkData(
    "evalplus/mbppplus", _FORMS, names=("mbpp_plus", "mbppplus", "MbppPlus"), sizes={"test": 378}, splits=_SPLITS
)


def _questions(own: GenerationSettings, source: BenchmarkData, shots: int) -> BenchmarkQuestions:
    """Those of the test split, told by their numbers where one file has all, and the shots of fixed numbers."""
    release = benchmark_rows(own.data, own.split or "test", source)
    is_whole = any(row["number"] not in TEST_IDS for row in release.rows) and source is DATA
    questions = list(release.rows)
    if is_whole and not own.split:
        questions = [row for row in questions if row["number"] in TEST_IDS]
    pool = release.rows
    if has_split(own.data, "prompt", source):
        pool = benchmark_rows(own.data, "prompt", source).rows
    if own.exemplars is not None:
        pool = benchmark_rows(own.exemplars, "", source).rows
    fixed = [row for row in pool if row["number"] in SHOT_IDS] if own.exemplars is None else list(pool)
    rows = choose_rows(questions, own, lambda row: "")
    notes = () if is_whole else release.notes
    if is_whole and len(questions) < source.sizes["test"]:
        notes += (f"{len(questions):,} of the {source.sizes['test']:,} examples of split test",)
    if len(rows) < len(questions):
        notes += (f"{len(rows):,} of {len(questions):,} were asked",)
    if len(fixed) < shots:
        notes += (f"{len(fixed)} shots, where {shots} are usual: problems {SHOT_IDS} are not in the data",)
    return BenchmarkQuestions(rows, {row["id"]: tuple(fixed[:shots]) for row in rows}, notes)


def _classic(row: DatasetRow) -> str:
    listed = "\n".join(row["listed"][:3])
    return (
        f"You are an expert Python programmer, and here is your task: {row['text']} Your code should pass these tests:"
        f"\n\n{listed}\n[BEGIN]\n"
    )


def _task(own: GenerationSettings, source: BenchmarkData, shots: int) -> Task:
    questions = _questions(own, source, shots)
    layout = Layout(_classic, lambda row: f"{row['code']}\n[DONE]", delimiter="")

    def grade(example: Example, answer: ModelAnswer) -> Grade:
        program = extract_code(answer.text) if answer.chat or "```" in answer.text else answer.text
        row, runner = example.row, SandboxServer.shared()
        if row["entry_point"]:
            return as_grade(grade_program(program, row["tests"], runner, entry_point=row["entry_point"]))
        return as_grade(grade_program(program, row["tests"], runner, style="asserts"))

    return Task(
        with_examples(questions, lambda row: row["code"]),
        prompt_of(layout, questions, own),
        own.generation(256 if source is DATA else 1024, MBPP_STOPS),
        grade,
        notes=questions.notes,
    )


@benchmark(GenerationSettings, DATA)
def mbpp(own: GenerationSettings) -> Task:
    """MBPP: 500 small programs, three shots, right when all three tests pass in the sandbox.

    Source: Austin et al. 2021; lm-evaluation-harness, `mbpp`; llama-models, eval_details.
    """
    return _task(own, DATA, own.shots(3, 3))


@benchmark(GenerationSettings, PLUS)
def mbpp_plus(own: GenerationSettings) -> Task:
    """MBPP with 35 times as many tests, 378 of its problems, no shots.

    Source: Liu et al. 2023 (EvalPlus); lm-evaluation-harness, `mbpp_plus`; llama-models, eval_details.
    """
    return _task(own, PLUS, own.shots(0, 0))
