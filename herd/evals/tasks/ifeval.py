"""IFEval: instructions that programs can check."""

from __future__ import annotations

from herd.evals.aggregates import mean_of, ratio_of
from herd.evals.benchmarks import GenerationSettings, Layout, benchmark, load_questions, prompt_of, with_examples
from herd.evals.datasets import BenchmarkData, DatasetRow, RowForm
from herd.evals.task import Example, Grade, ModelAnswer, Task
from herd.judge.ifeval import check_instructions


def _row(row: DatasetRow, file: str) -> DatasetRow:
    return {
        "id": str(row["key"]),
        "prompt": row["prompt"],
        "instructions": list(row["instruction_id_list"]),
        "arguments": [dict(arguments or {}) for arguments in row["kwargs"]],
    }


DATA = BenchmarkData(
    "google/IFEval",
    (RowForm(("key", "prompt", "instruction_id_list", "kwargs"), _row),),
    names=("ifeval", "input_data"),
    sizes={"train": 541},
)


@benchmark(GenerationSettings, DATA)
def ifeval(own: GenerationSettings) -> Task:
    """IFEval: whether all instructions of a prompt are followed, strictly; loosely, and of single instructions, beside
    it, and the mean of the four, which Llama 3 reports.

    Source: Zhou et al. 2023; lm-evaluation-harness, `ifeval`; llama-models, eval_details.
    """
    questions = load_questions(own, DATA, split="train", num_fewshot=own.shots(0, 0))
    layout = Layout(lambda row: row["prompt"], lambda row: "")
    return Task(
        with_examples(questions, lambda row: ""),
        prompt_of(layout, questions, own),
        own.generation(1280),
        grade_instructions,
        metrics={
            "prompt_level_loose_acc": mean_of("loose"),
            "inst_level_strict_acc": ratio_of("inst_strict", "instructions"),
            "inst_level_loose_acc": ratio_of("inst_loose", "instructions"),
        },
        group=lambda example: example.row["instructions"][0].partition(":")[0],
        notes=questions.notes,
    )


def grade_instructions(example: Example, answer: ModelAnswer) -> Grade:
    """Right when all instructions are followed strictly. parts: `loose`, and how many are followed of how many."""
    verdict = check_instructions(answer.text, example.row["instructions"], example.row["arguments"])
    missed = [name for name, followed in zip(example.row["instructions"], verdict.strict, strict=True) if not followed]
    parts = {
        "loose": float(all(verdict.loose)),
        "inst_strict": float(sum(verdict.strict)),
        "inst_loose": float(sum(verdict.loose)),
        "instructions": float(len(verdict.strict)),
    }
    return Grade(float(all(verdict.strict)), "", f"not followed: {', '.join(missed)}" if missed else "", parts=parts)
