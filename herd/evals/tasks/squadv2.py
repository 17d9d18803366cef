"""SQuAD 2: spans of a passage, or that it does not say."""

from __future__ import annotations

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
from herd.judge.reading import grade_squad

UNANSWERABLE = "unanswerable"


def _row(row: DatasetRow, file: str) -> DatasetRow:
    return {
        "id": str(row["id"]),
        "title": row["title"],
        "context": row["context"],
        "question": row["question"],
        "answers": list(row["answers"]["text"]),
    }


def _of_release(row: DatasetRow, file: str) -> list[DatasetRow]:
    rows: list[DatasetRow] = []
    for article in row["data"]:
        for paragraph in article["paragraphs"]:
            for pair in paragraph["qas"]:
                rows.append(
                    {
                        "id": str(pair["id"]),
                        "title": article["title"].replace("_", " "),
                        "context": paragraph["context"],
                        "question": pair["question"],
                        "answers": [answer["text"] for answer in pair["answers"]],
                    }
                )
    return rows


DATA = BenchmarkData(
    "lighteval/squad_v2",
    (RowForm(("id", "title", "context", "question", "answers"), _row), RowForm(("version", "data"), _of_release)),
    names=("squadv2", "squad_v2", "squad2"),
    sizes={"train": 130_319, "validation": 11_873},
)


def _question(row: DatasetRow) -> str:
    return f"Title: {row['title']}\n\nBackground: {row['context']}\n\nQuestion: {row['question']}\n\nAnswer:"


@benchmark(GenerationSettings, DATA)
def squadv2(own: GenerationSettings) -> Task:
    """SQuAD 2: an answer from a passage, exact after normalization, F1 beside it; apart for what has an answer or none.

    classic: no shots; as in lm-eval, `unanswerable` is not the empty answer that is right where there is none. llama3:
    one shot, 32 tokens, and it is. Source: Rajpurkar et al. 2018; lm-evaluation-harness, `squadv2`; llama-models,
    eval_details.
    """
    questions = load_questions(own, DATA, split="validation", fewshot_split="train", num_fewshot=own.shots(0, 1))
    layout = Layout(_question, lambda row: row["answers"][0] if row["answers"] else UNANSWERABLE)
    no_answer = own.style((), (UNANSWERABLE,))

    def grade(example: Example, answer: ModelAnswer) -> Grade:
        verdict = grade_squad(answer.text, example.row["answers"], no_answer=no_answer)
        kind = "HasAns" if example.row["answers"] else "NoAns"
        return as_grade(verdict, {f"{kind}_{name}": value for name, value in verdict.parts.items()})

    return Task(
        with_examples(questions, lambda row: f" {layout.answer(row)}"),
        prompt_of(layout, questions, own),
        own.generation(own.style(256, 32), ("\n",)),
        grade,
        metrics={name: mean_of(name) for name in ("f1", "HasAns_exact", "HasAns_f1", "NoAns_exact", "NoAns_f1")},
        notes=questions.notes,
    )
