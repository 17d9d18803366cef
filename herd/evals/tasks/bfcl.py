"""BFCL: functions called as a question asks, or not called where none fits."""

from __future__ import annotations

import json
import re
from pathlib import PurePosixPath
from typing import Any

from herd.core.errors import DataError
from herd.core.records import Conversation, Message
from herd.core.settings import settings
from herd.evals.benchmarks import GenerationSettings, as_grade, benchmark, choose_rows
from herd.evals.datasets import BenchmarkData, DatasetRow, RowForm, benchmark_rows
from herd.evals.task import Example, Grade, ModelAnswer, Prompt, Task
from herd.judge.bfcl import call_language, grade_bfcl

# Of the board's first version, which Llama 3 was measured by; what users sent in came later (`live_...`).
FIRST_VERSION = (
    "simple",
    "simple_python",
    "simple_java",
    "simple_javascript",
    "multiple",
    "parallel",
    "parallel_multiple",
    "irrelevance",
)
_LANGUAGES = {"python": "Python 3", "java": "Java 8 SE", "javascript": "JavaScript"}
_ANSWER = "answer of "


@settings
class BfclSettings(GenerationSettings):
    """As all benchmarks have them; subsets are categories. live: whether the categories of what users sent in are asked
    too."""

    live: bool = False


def _category(file: str) -> str:
    """`simple_python` of `BFCL_v4_simple_python.json`."""
    stem = PurePosixPath(file).name.partition(".")[0]
    return re.sub(r"^(BFCL_v\d+_|gorilla_openfunctions_v1_test_)", "", stem)


def _question(row: DatasetRow, file: str) -> DatasetRow:
    turns = row["question"]
    messages = turns[0] if turns and isinstance(turns[0], list) else turns
    functions = row["function"] if isinstance(row["function"], list) else [row["function"]]
    return {"id": str(row["id"]), "category": _category(file), "messages": messages, "functions": functions}


def _answer(row: DatasetRow, file: str) -> DatasetRow:
    return {"id": f"{_ANSWER}{row['id']}", "answers": row["ground_truth"]}


DATA = BenchmarkData(
    "gorilla-llm/Berkeley-Function-Calling-Leaderboard",
    (RowForm(("id", "question", "function"), _question), RowForm(("id", "ground_truth"), _answer)),
    names=("bfcl", "bfcl_eval"),
    passed_over=(
        "turn",
        "memory",
        "web",
        "exec",
        "executable",
        "rest",
        "sql",
        "chatable",
        "format",
        "composite",
        "doc",
    ),
)


def _system(row: DatasetRow) -> str:
    """Source: bfcl-eval, the default of its prompts for models without function calls of their own."""
    language = _LANGUAGES[call_language(row["category"])]
    functions = []
    for function in row["functions"]:
        words = f"{function.get('description', '')} Note that the provided function is in {language} syntax."
        functions.append({**function, "description": words})
    return (
        "You are an expert in composing functions.You are given a question and a set of possible functions. Based on "
        "the question, you will need to make one or more function/tool calls to achieve the purpose. If none of the "
        "functions can be used, point it out. If the given question lacks the parameters required by the function, "
        "also point it out.\n\nYou should only return the function calls in your response.\n\nIf you decide to invoke "
        "any of the function(s), you MUST put it in the format of [func_name1(params_name1=params_value1, "
        "params_name2=params_value2...), func_name2(params)].  You SHOULD NOT include any other text in the "
        "response.\n\nHere is a list of functions in json format that you can invoke.\n"
        f"{json.dumps(functions, indent=4, ensure_ascii=False)}\n"
    )


def _prompt(row: DatasetRow, system_prompt: str) -> Prompt:
    system = "\n\n".join(filter(None, (system_prompt, _system(row))))
    messages: list[Message] = []
    for message in row["messages"]:
        if message["role"] == "system":
            system += f"\n\n{message['content']}"
        else:
            messages.append(Message(message["role"], message["content"]))
    plain = "\n\n".join((system, *(message.content for message in messages)))
    return Prompt(Conversation((Message("system", system), *messages), str(row["id"])), f"{plain}\n\nCalls: ")


def _joined(own: BfclSettings) -> tuple[list[DatasetRow], tuple[str, ...]]:
    """Questions with their answers. Raises DataError for questions whose answers are not there."""
    release = benchmark_rows(own.data, own.split, DATA)
    answers: dict[str, Any] = {row["id"]: row["answers"] for row in release.rows if "answers" in row}
    rows: list[DatasetRow] = []
    for row in release.rows:
        category = row.get("category", "")
        if "answers" in row or not (category in FIRST_VERSION or (own.live and category.startswith("live_"))):
            continue
        if "relevance" not in category and f"{_ANSWER}{row['id']}" not in answers:
            raise DataError(f"bfcl has no answer of {row['id']}; put the release's `possible_answer` in its folder")
        rows.append({**row, "answers": answers.get(f"{_ANSWER}{row['id']}", [])})
    if not rows:
        raise DataError(f"the data holds none of BFCL's categories {', '.join(FIRST_VERSION)}; fetch it again")
    return rows, release.notes


@benchmark(BfclSettings, DATA)
def bfcl(own: BfclSettings) -> Task:
    """BFCL, single turns: the calls of functions that a question needs, or none where none fits.

    Calls are compared with all that are right; the score over questions, and over categories (macro), which the board
    of July 2024 reports. The functions stand in the system's message, and calls are written as text. Source: Patil et
    al. 2025 (BFCL); bfcl-eval, its prompts and AST checker; llama-models, eval_details. Differs: categories that run
    code or ask a service are no part of it, and types of Java and JavaScript are shown as the release has them.
    """
    rows, notes = _joined(own)
    questions = choose_rows(rows, own, lambda row: row["category"])
    if len(questions) < len(rows):
        notes += (f"{len(questions):,} of {len(rows):,} were asked",)

    def prompt(example: Example) -> Prompt:
        return _prompt(example.row, own.system_prompt)

    return Task(
        [Example(str(row["id"]), row) for row in questions],
        prompt,
        own.generation(512, ("\n\n",), chat_stop=()),
        grade_calls,
        group=lambda example: example.row["category"],
        notes=notes,
    )


def grade_calls(example: Example, answer: ModelAnswer) -> Grade:
    """Right when all calls are, in any order, and where none fits when nothing is called."""
    row = example.row
    return as_grade(grade_bfcl(answer.text.strip(), row["functions"], row["answers"], category=row["category"]))
