"""IFEval: instructions that programs can check."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np

from herd.evals.aggregates import mean_of, ratio_of
from herd.evals.benchmarks import GenerationSettings, Layout, benchmark, load_questions, prompt_of, with_examples
from herd.evals.datasets import BenchmarkData, DatasetRow, RowForm
from herd.evals.intervals import Interval, percentiles
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
    """IFEval: whether all instructions of a prompt are followed, as programs check.

    The score is strict by prompt; loose, and by instruction, are metrics; `mean_of_four` is what Llama 3 reports.
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
            "mean_of_four": mean_of_four,
        },
        group=lambda example: example.row["instructions"][0].partition(":")[0],
        notes=questions.notes,
    )


def mean_of_four(grades: Sequence[Sequence[Grade]]) -> Interval:
    """The mean of the four accuracies, by prompt and by instruction, strict and loose, with a bootstrap interval over
    prompts. Source: Llama 3, table 2; llama-models, eval_details."""
    rows = [[grade.score or 0.0, *grade.parts.values()] for grade in itertools.chain.from_iterable(grades)]
    strict, loose, inst_strict, inst_loose, instructions = np.asarray(rows, float).T
    draws = np.random.default_rng(0).integers(0, len(rows), (2000, len(rows)))

    def mean(numbers: np.ndarray) -> np.ndarray:
        by_prompt = (strict + loose)[numbers].mean(-1)
        return (by_prompt + (inst_strict + inst_loose)[numbers].sum(-1) / instructions[numbers].sum(-1)) / 4

    return Interval(float(mean(np.arange(len(rows)))), *percentiles(mean(draws)))


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
