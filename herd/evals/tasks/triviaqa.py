"""TriviaQA: questions of quizzes, without a text."""

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
from herd.evals.rowforms import with_own_id
from herd.evals.task import Example, Grade, ModelAnswer, Task
from herd.judge.reading import grade_aliases


def _row(row: DatasetRow, file: str) -> DatasetRow:
    answer = row["answer"]
    converted = {"question": row["question"], "aliases": list(answer["aliases"]), "value": answer["value"]}
    return with_own_id(row, "question_id", converted)


def _of_release(row: DatasetRow, file: str) -> list[DatasetRow]:
    rows: list[DatasetRow] = []
    for pair in row["Data"]:
        answer = pair["Answer"]
        converted = {"question": pair["Question"], "aliases": list(answer["Aliases"]), "value": answer["Value"]}
        rows.append(with_own_id(pair, "QuestionId", converted))
    return rows


def _of_context(row: DatasetRow, file: str) -> DatasetRow:
    question = row["context"].removeprefix("Question: ").removesuffix("\nAnswer:")
    return {"question": question, "aliases": list(row["aliases"]), "value": row["answer"]}


DATA = BenchmarkData(
    "mandarjoshi/trivia_qa",
    (
        RowForm(("question", "answer", "question_id"), _row),
        RowForm(("Data",), _of_release),
        RowForm(("context", "answer", "aliases"), _of_context),
    ),
    config="rc.nocontext",
    names=("triviaqa", "triviaqa_sm_sub", "triviaqa-rc", "triviaqa-unfiltered"),
    sizes={"train": 138_384, "validation": 17_944},
    passed_over=("web", "verified"),
)


@benchmark(GenerationSettings, DATA)
def triviaqa(own: GenerationSettings) -> Task:
    """TriviaQA without its documents: right when the answer is one of the names of what was asked for.

    classic: no shots; the question keeps its mark before lm-eval's own, and an answer ends at a line, a full stop or a
    comma. llama3: five shots, 24 tokens, ends at a line, normalized as in the release. Source: Joshi et al. 2017;
    lm-evaluation-harness, `triviaqa`; llama-models, eval_details (there of the part from Wikipedia).
    """
    questions = load_questions(own, DATA, split="validation", fewshot_split="train", num_fewshot=own.shots(0, 5))
    if own.prompt_style == "llama3":
        layout = Layout(lambda row: f"Question: {row['question']}\nAnswer:", lambda row: row["value"])
        generation = own.generation(24, ("\n",))
    else:
        layout = Layout(lambda row: f"Question: {row['question']}?\nAnswer:", lambda row: row["aliases"][0])
        generation = own.generation(256, ("\n", ".", ","))

    def grade(example: Example, answer: ModelAnswer) -> Grade:
        return as_grade(grade_aliases(answer.text, example.row["aliases"], rules=own.style("triviaqa", "official")))

    return Task(
        with_examples(questions, lambda row: f" {row['value']}"),
        prompt_of(layout, questions, own),
        generation,
        grade,
        notes=questions.notes,
    )
