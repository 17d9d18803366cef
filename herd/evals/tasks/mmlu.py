"""MMLU: 57 subjects, four choices each."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import PurePosixPath

from herd.evals.aggregates import mean_of
from herd.evals.benchmarks import (
    LETTERS,
    GenerationSettings,
    Layout,
    benchmark,
    load_questions,
    prompt_of,
    with_examples,
)
from herd.evals.choices import (
    ChoiceSettings,
    best_answer_question,
    choice_task,
    letter_of,
    list_choices,
    named_letter_task,
)
from herd.evals.datasets import BenchmarkData, DatasetRow, RowForm
from herd.evals.mmlu_subjects import MMLU_CATEGORIES, MMLU_SUBJECTS
from herd.evals.rowforms import check_gold, gold_of
from herd.evals.task import Example, Grade, ModelAnswer, Task
from herd.judge.extraction import grade_letter


def _subject(file: str) -> str:
    """`anatomy` of `dev/anatomy_dev.csv`."""
    return re.sub(r"_(test|dev|val)$", "", PurePosixPath(file).name.partition(".")[0])


def _of_the_hub(row: DatasetRow, file: str) -> DatasetRow:
    subject = row.get("subject") or _subject(file)
    return check_gold(
        {"question": row["question"], "choices": list(row["choices"]), "gold": row["answer"], "subject": subject}
    )


def _of_a_table(row: DatasetRow, file: str) -> DatasetRow:
    return {
        "question": row["question"],
        "choices": [row[letter] for letter in "ABCD"],
        "gold": gold_of(row["answer"], "ABCD"),
        "subject": _subject(file),
    }


def _of_numbered_columns(row: DatasetRow, file: str) -> DatasetRow:
    choices = [row[f"choice{number}"] for number in range(4)]
    return check_gold(
        {"question": row["question"], "choices": choices, "gold": int(row["answer"]), "subject": _subject(file)}
    )


DATA = BenchmarkData(
    "cais/mmlu",
    (
        RowForm(("question", "choices", "answer"), _of_the_hub),
        RowForm(("question", "choice0", "choice1", "choice2", "choice3", "answer"), _of_numbered_columns),
        RowForm(("question", "A", "B", "C", "D", "answer"), _of_a_table, ("question", *"ABCD", "answer")),
    ),
    config="all",
    names=("mmlu", "hendrycks_test"),
    sizes={"test": 14_042, "validation": 1_531, "dev": 285},
    splits={"test": ("test",), "validation": ("validation", "val"), "dev": ("dev",), "train": ("train",)},
)


def subject_of(row: DatasetRow) -> str:
    """What the row is about."""
    return row["subject"]


def with_categories(task: Task) -> Task:
    """The task with the score on each of its categories as metrics, over questions. Source: lm-evaluation-harness,
    `mmlu_stem` and its like."""
    present = {MMLU_SUBJECTS.get(subject_of(example.row)) for example in task.examples}

    def grade(example: Example, answer: ModelAnswer) -> Grade:
        own, category = task.judge(example, answer), MMLU_SUBJECTS.get(subject_of(example.row))
        if own.score is None or category is None:
            return own
        return replace(own, parts={**own.parts, category: own.score})

    metrics = {category: mean_of(category) for category in MMLU_CATEGORIES if category in present}
    return replace(task, grade=grade, metrics={**task.metrics, **metrics})


def _description(kind: str) -> str:
    return "The following are " + kind + "questions (with answers) about {}.\n\n"


@benchmark(ChoiceSettings, DATA, scoring="letters")
def mmlu(own: ChoiceSettings) -> Task:
    """MMLU: knowledge of 57 subjects; the score over questions, over subjects (macro) and in each category.

    classic: five shots of the subject, the letters compared, or the texts (lm-eval's `mmlu_continuation`). llama3: the
    model goes on from `The best answer is` (Llama 3's instruct models); its base models are measured by `classic` and
    macro. Source: Hendrycks et al. 2021; lm-evaluation-harness, `mmlu` and `mmlu_llama`; llama-models, eval_details.
    """
    questions = load_questions(
        own, DATA, split="test", fewshot_split="dev", num_fewshot=own.shots(5, 5), first_shots=True, group=subject_of
    )
    if own.prompt_style == "llama3":
        llama3 = named_letter_task(
            own,
            questions,
            question=best_answer_question,
            max_tokens=10,
            stop=(".",),
            shown_answer=lambda row: f"{letter_of(row)}.",
            group=subject_of,
        )
        return with_categories(llama3)
    kind = "multiple choice " if own.scoring == "letters" else ""

    def description(row: DatasetRow) -> str:
        return _description(kind).format(row["subject"].replace("_", " "))

    classic = choice_task(
        own,
        questions,
        text=lambda row: f"Question: {row['question'].strip()}\nAnswer:",
        lettered=lambda row: f"{row['question'].strip()}{list_choices(row)}\nAnswer:",
        description=description,
        group=subject_of,
    )
    return with_categories(classic)


STEPS = """
- For simple problems:
Directly provide the answer with minimal explanation.

- For complex problems:
Use this step-by-step format:
## Step 1: [Concise description]
[Brief explanation]
## Step 2: [Concise description]
[Brief explanation]

Regardless of the approach, always conclude with:
The best answer is [the_answer_letter].
where the [the_answer_letter] is one of A, B, C or D.

Let's think step by step."""


def step_by_step_question(row: DatasetRow) -> str:
    """A question with four choices that is to be thought about. Source: lm-evaluation-harness, `mmlu_cot_llama`."""
    return (
        "Given the following question and four candidate answers (A, B, C and D), choose the best answer.\n\n"
        f"Question: {row['question'].strip()}{list_choices(row)}\n{STEPS}"
    )


def grade_best_answer(example: Example, answer: ModelAnswer) -> Grade:
    """Right when the last `best answer is` names the letter."""
    verdict = grade_letter(answer.text, LETTERS[example.row["gold"]])
    return Grade(verdict.score, verdict.extracted, verdict.reason, verdict.unparsed)


@benchmark(GenerationSettings, DATA, prompt_style="llama3")
def mmlu_cot(own: GenerationSettings) -> Task:
    """MMLU with thoughts before the answer, no shots, as Llama 3's instruct models are asked.

    Source: lm-evaluation-harness, `mmlu_cot_llama`; llama-models, eval_details.
    """
    questions = load_questions(
        own, DATA, split="test", fewshot_split="dev", num_fewshot=own.shots(0, 0), first_shots=True, group=subject_of
    )
    layout = Layout(step_by_step_question, lambda row: f"The best answer is {letter_of(row)}.")
    thoughtful = Task(
        with_examples(questions, lambda row: ""),
        prompt_of(layout, questions, own),
        own.generation(1024),
        grade_best_answer,
        metrics=own.votes(),
        group=lambda example: subject_of(example.row),
        notes=questions.notes,
    )
    return with_categories(thoughtful)
