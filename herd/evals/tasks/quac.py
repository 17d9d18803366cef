"""QuAC: a conversation about a passage."""

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
from herd.judge.reading import QUAC_NO_ANSWER, grade_quac


def _of_release(row: DatasetRow, file: str) -> list[DatasetRow]:
    rows: list[DatasetRow] = []
    for article in row["data"]:
        title = f"{article.get('title', '')}: {article['section_title']}".removeprefix(": ")
        for paragraph in article["paragraphs"]:
            context = paragraph["context"].removesuffix(QUAC_NO_ANSWER).strip()
            earlier: list[tuple[str, str]] = []
            for pair in paragraph["qas"]:
                answers = [answer["text"] for answer in pair["answers"]]
                answer = (pair.get("orig_answer") or pair["answers"][0])["text"]
                rows.append(_row(pair["id"], title, context, pair["question"], answers, answer, earlier))
                earlier.append((pair["question"], answer))
    return rows


def _of_dialogue(row: DatasetRow, file: str) -> list[DatasetRow]:
    rows: list[DatasetRow] = []
    title = f"{row['wikipedia_page_title']}: {row['section_title']}"
    context = row["context"].removesuffix(QUAC_NO_ANSWER).strip()
    earlier: list[tuple[str, str]] = []
    turns = zip(row["turn_ids"], row["questions"], row["answers"]["texts"], row["orig_answers"]["texts"], strict=True)
    for identity, question, answers, answer in turns:
        rows.append(_row(identity, title, context, question, list(answers), answer, earlier))
        earlier.append((question, answer))
    return rows


def _row(
    identity: str, title: str, context: str, question: str, answers: list[str], answer: str,
    earlier: list[tuple[str, str]],
) -> DatasetRow:  # fmt: skip
    return {
        "id": str(identity),
        "title": title,
        "context": context,
        "question": question,
        "answers": answers,
        "said": answer,
        "earlier": tuple(earlier),
    }


DATA = BenchmarkData(
    "allenai/quac",
    (
        RowForm(("data",), _of_release),
        RowForm(("questions", "turn_ids", "answers", "orig_answers", "context"), _of_dialogue),
    ),
    names=("quac",),
    sizes={"train": 83_568, "validation": 7_354},
)


def _question(row: DatasetRow) -> str:
    earlier = "".join(f"Q: {question}\nA: {answer}\n\n" for question, answer in row["earlier"])
    return f"Title: {row['title']}\n\nBackground: {row['context']}\n\n{earlier}Q: {row['question']}\nA:"


@benchmark(GenerationSettings, DATA)
def quac(own: GenerationSettings) -> Task:
    """QuAC: the next answer of a conversation about a passage; F1 against several people's, HEQ-Q beside it.

    The turns before stand in the prompt with the answers that people gave. classic: no shots. llama3: one, 32 tokens.
    A question that people do not agree on is void, as in the release's scorer. Source: Choi et al. 2018; llama-models,
    eval_details. Differs: lm-eval has no QuAC, and neither says how Llama 3 was asked; the prompt is ours.
    """
    questions = load_questions(own, DATA, split="validation", fewshot_split="train", num_fewshot=own.shots(0, 1))
    layout = Layout(_question, lambda row: row["said"])

    def grade(example: Example, answer: ModelAnswer) -> Grade:
        return as_grade(grade_quac(answer.text, example.row["answers"]))

    return Task(
        with_examples(questions, lambda row: f" {row['said']}"),
        prompt_of(layout, questions, own),
        own.generation(own.style(64, 32), ("\n",)),
        grade,
        metrics={"heq": mean_of("heq"), "human_f1": mean_of("human_f1")},
        notes=questions.notes,
    )
