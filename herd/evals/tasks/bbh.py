"""BIG-Bench Hard: 27 tasks that took language models longest."""

from __future__ import annotations

import re
from pathlib import Path, PurePosixPath

from herd.core.errors import DataError
from herd.core.settings import InputFile, input_path, settings
from herd.evals.benchmarks import (
    BenchmarkQuestions,
    GenerationSettings,
    Layout,
    as_grade,
    benchmark,
    load_questions,
    prompt_of,
    with_examples,
)
from herd.evals.datasets import BenchmarkData, DatasetRow, RowForm
from herd.evals.task import Example, Grade, ModelAnswer, Task
from herd.judge.extraction import grade_answer_is

_THINK = "A: Let's think step by step.\n"


@settings
class BbhSettings(GenerationSettings):
    """As all benchmarks have them. cot_prompts: a folder with the release's `cot-prompts`, a file a task; beside or in
    the data when absent."""

    cot_prompts: InputFile | None = None


def _subtask(file: str) -> str:
    """`boolean_expressions` of `boolean_expressions.json` or of `boolean_expressions/test-00000-of-00001.parquet`."""
    *folders, name = PurePosixPath(file).parts
    stem = name.partition(".")[0]
    words = re.sub(r"(^|[-_])(test|bbh)([-_].*)?$", "", stem)
    return words or next((folder for folder in reversed(folders) if re.fullmatch(r"[a-z_]+", folder)), stem)


def _of_release(row: DatasetRow, file: str) -> list[DatasetRow]:
    return [
        {"subtask": _subtask(file), "input": example["input"], "target": example["target"]}
        for example in row["examples"]
    ]


def _row(row: DatasetRow, file: str) -> DatasetRow:
    return {"subtask": _subtask(file), "input": row["input"], "target": row["target"]}


_SUBTASKS = (
    "boolean_expressions causal_judgement date_understanding disambiguation_qa dyck_languages formal_fallacies "
    "geometric_shapes hyperbaton logical_deduction_five_objects logical_deduction_seven_objects "
    "logical_deduction_three_objects movie_recommendation multistep_arithmetic_two navigate object_counting "
    "penguins_in_a_table reasoning_about_colored_objects ruin_names salient_translation_error_detection snarks "
    "sports_understanding temporal_sequences tracking_shuffled_objects_five_objects "
    "tracking_shuffled_objects_seven_objects tracking_shuffled_objects_three_objects web_of_lies word_sorting"
)
DATA = BenchmarkData(
    "SaylorTwift/bbh",
    (RowForm(("examples",), _of_release), RowForm(("input", "target"), _row)),
    configs=tuple(_SUBTASKS.split()),
    names=("bbh", "BIG-Bench-Hard"),
    sizes={"test": 6_511},
)


def read_cot_prompt(file: Path) -> tuple[str, tuple[DatasetRow, ...]]:
    """A task's instruction, and the questions with their chains of thought that are shown, of a file of the release.

    Raises DataError for a file that has none.
    """
    text = file.read_text(encoding="utf-8")
    instruction, *shots = re.split(r"\n\nQ: ", text.partition("-----\n")[2] or text)
    rows: list[DatasetRow] = []
    for shot in shots:
        question, marker, chain = shot.strip().partition(f"\n{_THINK.strip()}")
        if not marker:
            raise DataError(f"{file} has a shot without the line {_THINK.strip()!r}; fetch it again")
        rows.append({"id": f"{file.stem}/{len(rows)}", "input": question, "target": chain.strip()})
    if not rows:
        raise DataError(f"{file} has no shots `Q: ...`; fetch it again")
    return instruction.strip(), tuple(rows)


def _prompts_folder(own: BbhSettings) -> Path | None:
    if own.cot_prompts is not None:
        return input_path(own.cot_prompts)
    if own.data is None:
        return None
    data = input_path(own.data)
    places = (data / "cot-prompts", data.parent / "cot-prompts", data.parent.parent / "cot-prompts")
    return next((folder for folder in places if folder.is_dir()), None)


@benchmark(BbhSettings, DATA)
def bbh(own: BbhSettings) -> Task:
    """BIG-Bench Hard: three chains of thought of the task's own before each question; what follows `the answer is`.

    Both styles ask alike; classic writes 1,024 tokens at most, llama3 512. The score over questions, and over the 27
    tasks (macro). Source: Suzgun et al. 2022; lm-evaluation-harness, `bbh_cot_fewshot`; llama-models, eval_details.
    """
    loaded = load_questions(own, DATA, split="test", group=_subtask_of)
    count = own.shots(3, 3)
    folder = _prompts_folder(own)
    instructions: dict[str, str] = {}
    shots: dict[str, tuple[DatasetRow, ...]] = {}
    if count and folder is None:
        raise DataError(
            "bbh has no folder `cot-prompts` in or beside its data; name it as `cot_prompts`, or num_fewshot: 0"
        )
    for name in sorted({_subtask_of(row) for row in loaded.rows}):
        file = folder / f"{name}.txt" if folder else None
        if file is not None and file.exists():
            instructions[name], shots[name] = read_cot_prompt(file)
        elif count:
            raise DataError(f"{folder} has no {name}.txt, whose shots are wanted; fetch it, or set num_fewshot: 0")
        if len(shots.get(name, ())) < count:
            raise DataError(f"{count} shots are wanted and {name}.txt has {len(shots[name])}; set num_fewshot lower")
    questions = BenchmarkQuestions(
        loaded.rows, {row["id"]: shots[_subtask_of(row)][:count] for row in loaded.rows if count}, loaded.notes
    )
    layout = Layout(
        lambda row: f"Q: {row['input']}\n{_THINK}",
        lambda row: row["target"],
        lambda row: f"{instructions[_subtask_of(row)]}\n\n" if instructions.get(_subtask_of(row)) else "",
        delimiter="",
    )

    def grade(example: Example, answer: ModelAnswer) -> Grade:
        return as_grade(grade_answer_is(answer.text, example.row["target"]))

    return Task(
        with_examples(questions, lambda row: ""),
        prompt_of(layout, questions, own),
        own.generation(own.style(1024, 512), ("</s>", "Q", "\n\n")),
        grade,
        metrics=own.votes(),
        group=lambda example: _subtask_of(example.row),
        notes=questions.notes,
    )


def _subtask_of(row: DatasetRow) -> str:
    return row["subtask"]
