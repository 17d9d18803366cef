"""WinoGrande: which of two names a gap stands for."""

from __future__ import annotations

from typing import Any

from herd.evals.benchmarks import BenchmarkSettings, Layout, benchmark, load_questions, with_examples
from herd.evals.datasets import BenchmarkData, DatasetRow, RowForm
from herd.evals.rowforms import check_gold, with_own_id
from herd.evals.task import Example, Grade, LogLikelihood, ModelAnswer, Prompt, Task


def _row(row: DatasetRow, file: str) -> DatasetRow:
    before, gap, after = row["sentence"].partition("_")
    if not gap:
        raise ValueError("the sentence has no gap `_`")
    if str(row["answer"]) not in ("1", "2"):
        raise ValueError(f"the answer {row['answer']!r} is none of 1 and 2; the test split has none")
    converted: dict[str, Any] = {
        "choices": [row["option1"], row["option2"]],
        "contexts": [before + row["option1"], before + row["option2"]],
        "after": after.strip(),
        "gold": int(row["answer"]) - 1,
    }
    return with_own_id(row, "qID", converted)


def _of_contexts(row: DatasetRow, file: str) -> DatasetRow:
    contexts = list(row["context_options"])
    return check_gold(
        {"choices": contexts, "contexts": contexts, "after": row["continuation"].strip(), "gold": row["gold"]}
    )


DATA = BenchmarkData(
    "allenai/winogrande",
    (
        RowForm(("sentence", "option1", "option2", "answer"), _row),
        RowForm(("context_options", "continuation", "gold"), _of_contexts),
    ),
    config="winogrande_xl",
    names=("winogrande", "winogrande_1.1"),
    sizes={"train": 40_398, "validation": 1_267},
    passed_over=("xs", "s", "m", "l", "debiased"),
)


@benchmark(BenchmarkSettings, DATA)
def winogrande(own: BenchmarkSettings) -> Task:
    """WinoGrande: the likelihood of what follows a gap, after each of the names that may fill it (partial scoring).

    classic: no shots. llama3: five. Source: Sakaguchi et al. 2019; Trinh and Le 2018; lm-evaluation-harness,
    `winogrande`; llama-models, eval_details.
    """
    questions = load_questions(own, DATA, split="validation", fewshot_split="train", num_fewshot=own.shots(0, 5))

    def contexts(example: Example) -> list[Prompt]:
        row, shots = example.row, questions.shots.get(example.id, ())
        layouts = [
            Layout(lambda row, n=number: row["contexts"][n], _after, shot_question=_filled) for number in range(2)
        ]
        return [layout.prompt(row, shots, own.system_prompt) for layout in layouts]

    return Task(
        with_examples(questions, lambda row: ""),
        lambda example: contexts(example)[0],
        LogLikelihood(lambda example: [f" {example.row['after']}"] * 2, contexts=contexts, share_prompts=True),
        grade_filled,
        notes=questions.notes,
    )


def _after(row: DatasetRow) -> str:
    return row["after"]


def _filled(row: DatasetRow) -> str:
    return row["contexts"][row["gold"]]


def grade_filled(example: Example, answer: ModelAnswer) -> Grade:
    """Right when the name that makes what follows likeliest is."""
    row, number = example.row, answer.choice or 0
    return Grade(float(number == row["gold"]), row["choices"][number], f"the answer is {row['choices'][row['gold']]!r}")
