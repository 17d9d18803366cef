"""LAMBADA: the last word of a passage that only its whole gives away."""

from __future__ import annotations

from herd.evals.aggregates import perplexity_of
from herd.evals.benchmarks import BenchmarkSettings, Layout, benchmark, load_questions, prompt_of, with_examples
from herd.evals.datasets import BenchmarkData, DatasetRow, RowForm
from herd.evals.task import Example, Grade, LogLikelihood, ModelAnswer, Task


def _row(row: DatasetRow, file: str) -> DatasetRow:
    *words, last = row["text"].split(" ")
    if not words or not last:
        raise ValueError("the text has no last word")
    return {"context": " ".join(words), "word": last}


def _of_context(row: DatasetRow, file: str) -> DatasetRow:
    return {"context": row["context"], "word": row["continuation"].strip()}


DATA = BenchmarkData(
    "EleutherAI/lambada_openai",
    (RowForm(("text",), _row), RowForm(("context", "continuation"), _of_context)),
    config="default",
    names=("lambada_openai", "lambada", "lambada_test"),
    sizes={"test": 5_153},
)


@benchmark(BenchmarkSettings, DATA)
def lambada_openai(own: BenchmarkSettings) -> Task:
    """LAMBADA in OpenAI's text: right when the model would write the last word; and its perplexity.

    Source: Paperno et al. 2016; Radford et al. 2019; lm-evaluation-harness, `lambada_openai`.
    """
    questions = load_questions(own, DATA, split="test", num_fewshot=own.shots(0, 0))
    layout = Layout(lambda row: row["context"], lambda row: row["word"])
    return Task(
        with_examples(questions, lambda row: f" {row['word']}"),
        prompt_of(layout, questions, own),
        LogLikelihood(lambda example: [example.target], greedy=True, share_prompts=True),
        _grade,
        metrics={"perplexity": perplexity_of("nats")},
        notes=questions.notes,
    )


def _grade(example: Example, answer: ModelAnswer) -> Grade:
    right = answer.text == example.target
    return Grade(
        float(right),
        answer.text.strip(),
        f"the word is {example.row['word']!r}",
        parts={"nats": -answer.log_likelihoods[0]},
    )
