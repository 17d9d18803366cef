"""HumanEval: functions written from their first lines, and run."""

from __future__ import annotations

from herd.core.records import Conversation, Message
from herd.evals.benchmarks import GenerationSettings, as_grade, benchmark, load_questions, with_examples
from herd.evals.datasets import BenchmarkData, DatasetRow, RowForm
from herd.evals.task import Example, Grade, ModelAnswer, Prompt, Task
from herd.judge.plain_numpy import with_plain_numpy
from herd.judge.programs import chat_program, complete_program, grade_program, stub_head
from herd.sandbox.server import SandboxServer

# lm-eval's, which end a completion a little earlier than Chen et al.'s.
STOPS = ("\nclass", "\ndef", "\n#", "\nif", "\nprint")


def _row(row: DatasetRow, file: str) -> DatasetRow:
    return {
        "id": str(row["task_id"]),
        "prompt": row["prompt"],
        "entry_point": row["entry_point"],
        "test": with_plain_numpy(row["test"]),
        "solution": row["canonical_solution"],
    }


_FORMS = (RowForm(("task_id", "prompt", "entry_point", "canonical_solution", "test"), _row),)
DATA = BenchmarkData("openai/openai_humaneval", _FORMS, names=("humaneval", "HumanEval"), sizes={"test": 164})
PLUS = BenchmarkData(
    "evalplus/humanevalplus",
    _FORMS,
    names=("humaneval_plus", "humanevalplus", "HumanEvalPlus", "HumanEvalPlus-v0.1.10"),
    sizes={"test": 164},
)


def _task(own: GenerationSettings, source: BenchmarkData) -> Task:
    questions = load_questions(own, source, split="test")
    is_prefixed = own.prompt_style == "llama3"

    def prompt(example: Example) -> Prompt:
        stub = example.row["prompt"]
        words = "Write a solution to the following problem and make sure that it passes the tests:"
        question = f"{words}\n```python\n{stub}\n```\n"
        system = (Message("system", own.system_prompt),) if own.system_prompt else ()
        chat = Conversation((*system, Message("user", question)), example.id)
        if is_prefixed:
            return Prompt(chat, question, (), f"Here is the completed function:\n```python\n{stub}\n")
        return Prompt(chat, stub)

    def grade(example: Example, answer: ModelAnswer) -> Grade:
        stub, name = example.row["prompt"], example.row["entry_point"]
        if is_prefixed:
            program = f"{stub}\n{answer.text.partition('```')[0]}"
        elif answer.chat:
            program = chat_program(stub, answer.text, entry_point=name)
        else:
            program = complete_program(stub, answer.text, stops=())
        tests = f"{stub_head(stub, name)}\n{example.row['test']}"
        return as_grade(grade_program(program, tests, SandboxServer.shared(), entry_point=name))

    stops = own.style(STOPS, ("```",))
    return Task(
        with_examples(questions, lambda row: row["solution"]),
        prompt,
        own.generation(1024, stops, chat_stop=own.style((), stops)),
        grade,
        notes=questions.notes,
    )


@benchmark(GenerationSettings, DATA)
def humaneval(own: GenerationSettings) -> Task:
    """HumanEval: 164 functions from their first lines, right when all tests pass in the sandbox.

    pass@k by `num_samples`, `temperature` and `k`. classic: a model goes on with the first lines, and a chat model is
    asked for the function. llama3: the answer begins with the first lines. Source: Chen et al. 2021; lm-evaluation-
    harness, `humaneval` and `humaneval_instruct`; llama-models, eval_details.
    """
    return _task(own, DATA)


@benchmark(GenerationSettings, PLUS)
def humaneval_plus(own: GenerationSettings) -> Task:
    """HumanEval with 80 times as many tests; asked as `humaneval`.

    Source: Liu et al. 2023 (EvalPlus); lm-evaluation-harness, `humaneval_plus`. Differs: no numpy for programs.
    """
    return _task(own, PLUS)
