"""Questions with a known answer, from a file of a user's own."""

from __future__ import annotations

from typing import Annotated

from herd.core.records import Conversation, Message
from herd.core.registry import Use
from herd.core.settings import Count, InputFile, Positive
from herd.evals.rows import Row, examples, shots_of, text_in
from herd.evals.tasks import Answer, Example, Generate, Grade, Prompt, Task, tasks
from herd.judge.verifiers import verifiers

Verifier = Annotated[Use, verifiers.choice]
NUMBER = verifiers.use("number")


@tasks.add
def short_answer(
    *,
    data: InputFile,
    split: str = "",
    question: str = "question",
    answer: str = "answer",
    verify: Verifier = NUMBER,
    shots: Count = 0,
    added: str = "",
    max_tokens: Positive = 256,
    samples: Positive = 1,
    temperature: float = 0.0,
    k: Positive = 1,
    limit: Count = 0,
) -> Task:
    """Questions of a file, right when a verifier finds the answer so; GSM8K's rows and the like.

    data: a file or folder of rows; question, answer: their columns. verify: by the last number, unless it says
    otherwise. shots: of the rows, how many are shown with their answers before each question; they are not asked.
    added: to every question that is put to a chat model, such as the form an answer shall have.
    Source: lm-evaluation-harness, `generate_until`; Cobbe et al. 2021 (GSM8K).
    """

    def columns(row: Row) -> tuple[Row, str]:
        return row, f" {text_in(row, answer)}"

    shown, asked = shots_of(examples(data, columns, split=split, limit=limit + shots if limit else 0), shots)
    before = "".join(f"Question: {text_in(one.row, question)}\nAnswer:{one.target}\n\n" for one in shown)
    check = verifiers.make(verify)

    def put(example: Example) -> Prompt:
        text = text_in(example.row, question)
        turns = [
            turn
            for one in shown
            for turn in (
                Message("user", text_in(one.row, question) + added),
                Message("assistant", one.target.strip()),
            )
        ]
        chat = Conversation((*turns, Message("user", text + added)), example.id)
        return Prompt(chat, f"{before}Question: {text}\nAnswer:")

    def grade(example: Example, given: Answer) -> Grade:
        known = Message("assistant", example.target.strip())
        right = check(put(example).chat, given.message, known)
        return Grade(None if right is None else float(right), given.text.strip(), f"the answer is {known.content!r}")

    how = Generate(max_tokens, ("\nQuestion:", "\n\nQuestion:"), samples, temperature, k=k)
    return Task(asked, put, how, grade)
