"""Questions with a known answer, from a file of a user's own."""

from __future__ import annotations

from typing import Annotated

from herd.core.records import Conversation, Message
from herd.core.registry import PluginConfig
from herd.core.settings import InputFile, NonNegativeInt, PositiveInt
from herd.evals.rows import DatasetRow, load_examples, split_fewshot, text_in
from herd.evals.tasks import Example, Generate, Grade, ModelAnswer, Prompt, Task, tasks
from herd.judge.verifiers import verifiers

AnswerVerifier = Annotated[PluginConfig, verifiers.choice]
NUMBER = verifiers.configure("numeric_match")


@tasks.add
def short_answer(
    *,
    data: InputFile,
    split: str = "",
    question: str = "question",
    answer: str = "answer",
    verifier: AnswerVerifier = NUMBER,
    num_fewshot: NonNegativeInt = 0,
    prompt_suffix: str = "",
    max_tokens: PositiveInt = 256,
    num_samples: PositiveInt = 1,
    temperature: float = 0.0,
    k: PositiveInt = 1,
    limit: NonNegativeInt = 0,
) -> Task:
    """Questions of a file, right when a verifier finds the answer so; GSM8K's rows and the like.

    data: a file or folder of rows; question, answer: their columns. verifier: by the last number, unless it says
    otherwise. num_fewshot: of the rows, how many are shown with their answers before each question; they are not asked.
    prompt_suffix: to every question that is put to a chat model, such as the form an answer shall have.
    Source: lm-evaluation-harness, `generate_until`; Cobbe et al. 2021 (GSM8K).
    """

    def columns(row: DatasetRow) -> tuple[DatasetRow, str]:
        return row, f" {text_in(row, answer)}"

    fewshot, questions = split_fewshot(
        load_examples(data, columns, split=split, limit=limit + num_fewshot if limit else 0), num_fewshot
    )
    before = "".join(f"Question: {text_in(shot.row, question)}\nAnswer:{shot.target}\n\n" for shot in fewshot)
    fewshot_turns: list[Message] = []
    for shot in fewshot:
        fewshot_turns.append(Message("user", text_in(shot.row, question) + prompt_suffix))
        fewshot_turns.append(Message("assistant", shot.target.strip()))
    check = verifiers.make(verifier)

    def prompt_for(example: Example) -> Prompt:
        text = text_in(example.row, question)
        chat = Conversation((*fewshot_turns, Message("user", text + prompt_suffix)), example.id)
        return Prompt(chat, f"{before}Question: {text}\nAnswer:")

    def grade(example: Example, response: ModelAnswer) -> Grade:
        reference = Message("assistant", example.target.strip())
        right = check(prompt_for(example).chat, response.message, reference)
        return Grade(
            None if right is None else float(right), response.text.strip(), f"the answer is {reference.content!r}"
        )

    generation = Generate(max_tokens, ("\nQuestion:", "\n\nQuestion:"), num_samples, temperature, k=k)
    return Task(questions, prompt_for, generation, grade)
