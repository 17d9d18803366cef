"""DROP: counting, adding and comparing what a passage says."""

from __future__ import annotations

from collections.abc import Mapping

from herd.evals.aggregates import mean_of
from herd.evals.benchmarks import (
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
from herd.judge.drop import drop_golds, grade_drop


def _row(row: DatasetRow, file: str) -> DatasetRow:
    return _converted(row["query_id"], row["passage"], row)


def _of_release(row: DatasetRow, file: str) -> list[DatasetRow]:
    rows: list[DatasetRow] = []
    for section in row.values():
        if not isinstance(section, Mapping) or "qa_pairs" not in section:
            raise ValueError("it is no release of DROP, whose passages have `qa_pairs`")
        rows += [_converted(pair["query_id"], section["passage"], pair) for pair in section["qa_pairs"]]
    return rows


def _converted(identity: str, passage: str, pair: DatasetRow) -> DatasetRow:
    return {"id": str(identity), "passage": passage, "question": pair["question"], "answers": drop_golds(pair)}


DATA = BenchmarkData(
    "EleutherAI/drop",
    (RowForm(("query_id", "passage", "question", "answer"), _row), RowForm((), _of_release)),
    names=("drop", "drop_dataset"),
    sizes={"train": 77_409, "validation": 9_536},
)


@benchmark(GenerationSettings, DATA)
def drop(own: GenerationSettings) -> Task:
    """DROP: an answer that a passage gives only when it is reckoned with; F1, exact match beside it.

    classic: no shots, the answer ends at a full stop. llama3: three shots drawn for each question, 32 tokens, a line.
    Source: Dua et al. 2019; lm-evaluation-harness, `drop`; llama-models, eval_details.
    """
    questions = load_questions(own, DATA, split="validation", fewshot_split="train", num_fewshot=own.shots(0, 3))
    if own.prompt_style == "llama3":
        layout = Layout(lambda row: f"Passage: {row['passage']}\nQuestion: {row['question']}\nAnswer:", _answer)
        generation = own.generation(32, ("\n",))
    else:
        layout = Layout(lambda row: f"{row['passage']} {row['question']}", _answer)
        generation = own.generation(256, (".",))

    def grade(example: Example, answer: ModelAnswer) -> Grade:
        text = answer.text if own.prompt_style == "classic" else answer.text.strip()
        return as_grade(grade_drop(text, example.row["answers"]))

    return Task(
        with_examples(questions, lambda row: f" {_answer(row)}"),
        prompt_of(layout, questions, own),
        generation,
        grade,
        metrics={"em": mean_of("em")},
        notes=questions.notes,
    )


def _answer(row: DatasetRow) -> str:
    return ", ".join(row["answers"][0])
