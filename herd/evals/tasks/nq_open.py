"""NaturalQuestions, open: what people asked a search engine, without a text."""

from __future__ import annotations

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
from herd.judge.reading import grade_aliases


def _row(row: DatasetRow, file: str) -> DatasetRow:
    answers = [row["answer"]] if isinstance(row["answer"], str) else list(row["answer"])
    if not answers:
        raise ValueError("the row has no answer")
    return {"question": row["question"], "answers": answers}


DATA = BenchmarkData(
    "google-research-datasets/nq_open",
    (RowForm(("question", "answer"), _row),),
    config="nq_open",
    names=("nq_open", "natural_questions"),
    sizes={"train": 87_925, "validation": 3_610},
)


@benchmark(GenerationSettings, DATA)
def nq_open(own: GenerationSettings) -> Task:
    """NaturalQuestions without documents: right when the answer is one of those that people found.

    classic: no shots, as lm-eval. llama3: five shots, a line, normalized as in the release. Source: Kwiatkowski et al.
    2019; Lee et al. 2019; lm-evaluation-harness, `nq_open`.
    """
    questions = load_questions(own, DATA, split="validation", fewshot_split="train", num_fewshot=own.shots(0, 5))
    layout = Layout(
        lambda row: f"Q: {row['question']}?\nA:",
        lambda row: row["answers"][0],
        lambda row: "Answer these questions:\n\n",
        separator="\n",
    )

    def grade(example: Example, answer: ModelAnswer) -> Grade:
        return as_grade(grade_aliases(answer.text, example.row["answers"], rules=own.style("nq_open", "nq_official")))

    return Task(
        with_examples(questions, lambda row: f" {row['answers'][0]}"),
        prompt_of(layout, questions, own),
        own.style(own.generation(256, ("\n", ".", ",")), own.generation(32, ("\n",))),
        grade,
        notes=questions.notes,
    )
