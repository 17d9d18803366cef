"""API-Bank: the next call of an API in a conversation."""

from __future__ import annotations

import ast
import json
from collections.abc import Iterable
from typing import Any

from herd.core.errors import DataError
from herd.core.settings import InputFile, Share, settings
from herd.evals.benchmarks import GenerationSettings, as_grade, benchmark, choose_rows
from herd.evals.datasets import BenchmarkData, BenchmarkRows, DatasetRow, RowForm, benchmark_rows
from herd.evals.task import Example, Grade, ModelAnswer, Prompt, Task
from herd.judge.tool_answers import api_bank_call, grade_api_bank

_SEARCHER = "ToolSearcher"
# The release describes it in its code only.
_SEARCHER_WORDS = {
    "name": _SEARCHER,
    "description": "Finds APIs that fit keywords.",
    "input_parameters": {"keywords": {"type": "str", "description": "What to look for, in a few words."}},
    "output_parameters": {"best_matchs": {"type": "list", "description": "The APIs found, with their parameters."}},
}
# Arguments in words of one's own; the release's checks compare shares of words of the first two.
FREE_TEXT = ("content", "meeting_topic", "keywords", "question", "location")


@settings
class ApiBankSettings(GenerationSettings):
    """As all benchmarks have them; subsets are levels. apis: the release's `all_apis.csv`, where it does not lie in the
    data. free_text: arguments that are compared by ROUGE-L, which has to be at least `min_rouge`."""

    apis: InputFile | None = None
    free_text: tuple[str, ...] = FREE_TEXT
    min_rouge: Share = 0.5


def _turn(row: DatasetRow, file: str) -> DatasetRow:
    """Of a dialogue's own file, which has a turn in each line."""
    return {"dialogue": file, "turns": [row]}


def _dialogue(row: DatasetRow, file: str) -> DatasetRow:
    return {"dialogue": row["file"], "turns": row["turns"]}


def _api(row: DatasetRow, file: str) -> DatasetRow:
    described: dict[str, Any] = {"name": row["类名"]}
    try:
        for statement in ast.parse(row["api_info"]).body:
            if isinstance(statement, ast.Assign) and isinstance(statement.targets[0], ast.Name):
                described[statement.targets[0].id] = ast.literal_eval(statement.value)
        json.dumps(described)
    except (SyntaxError, ValueError, TypeError):
        described = {"name": row["类名"], "call": row["expressions"]}  # a few of the release are damaged
    return {"description": described}


def _asked(row: DatasetRow, file: str) -> DatasetRow | list[DatasetRow]:
    """Of the Hub's `test-data`, whose rows hold the prompt; those that ask for words are no part of it."""
    expected = str(row["expected_output"] if "expected_output" in row else row["output"])
    if "[" not in expected:
        return []
    call = api_bank_call(expected)
    if call is None:
        raise ValueError(f"the expected call {expected[:80]!r} cannot be read")
    text = "\n".join(filter(None, (row["instruction"], row["input"])))
    number = next((digit for digit in file.partition("level")[2] if digit.isdigit()), "")
    return {"text": text, "api": call[0], "arguments": call[1], "level": f"level_{number}"}


def _nothing(row: DatasetRow, file: str) -> list[DatasetRow]:
    return []


DATA = BenchmarkData(
    "liminghao1630/API-Bank",
    (
        RowForm(("file", "turns"), _dialogue),
        RowForm(("role", "api_name", "param_dict"), _turn),
        RowForm(("role", "text"), _turn),
        RowForm(("类名", "api_info", "expressions"), _api),
        RowForm(("instruction", "input", "expected_output"), _asked),
        RowForm(("instruction", "input", "output"), _asked),
        RowForm(("apis", "requirement"), _nothing),  # whole dialogues of level 3
    ),
    names=("api_bank", "api-bank", "apibank"),
    splits={},
    passed_over=("exceptions", "database", "response", "icl", "training"),
)


def _call_text(turn: DatasetRow) -> str:
    said = ", ".join(f"{name}={value!r}" for name, value in turn["param_dict"].items())
    return f"[{turn['api_name']}({said})]"


def _transcript(turns: Iterable[DatasetRow]) -> str:
    lines = []
    for turn in turns:
        if turn["role"] == "API":
            result = json.dumps(turn["result"]["output"], ensure_ascii=False)
            lines.append(f"API-Request: {_call_text(turn)} -> {result}")
        else:
            lines.append(f"{turn['role']}: {turn['text']}")
    return "\n".join(lines)


def _instructions(apis: Iterable[DatasetRow]) -> str:
    listed = "\n".join(json.dumps(api, ensure_ascii=False) for api in apis)
    return (
        "Below are descriptions of APIs and a conversation of a user with an AI that calls them. Write the API request "
        "that the AI has to make next, as [ApiName(key1='value1', key2='value2', ...)] with the API's name and its "
        "parameters filled in, and nothing else. The year is 2023.\n\n"
        f"API descriptions:\n{listed}"
    )


def _calls(dialogue: str, turns: list[DatasetRow], apis: dict[str, DatasetRow]) -> list[DatasetRow]:
    """A row of every call. Where tools are searched, only the search is described: what it found stands in the
    conversation."""
    called = list(dict.fromkeys(turn["api_name"] for turn in turns if turn["role"] == "API"))
    searched = _SEARCHER in called
    shown = [_SEARCHER] if searched else called
    if missing := [name for name in shown if name not in apis]:
        raise DataError(
            f"api_bank has no description of {missing[0]}, which {dialogue} calls; put the release's "
            "`data/all_apis.csv` in its folder, or name it as `apis`"
        )
    instructions = _instructions(apis[name] for name in shown)
    rows = []
    for number, turn in enumerate(turns):
        if turn["role"] == "API":
            text = f"{instructions}\n\nConversation:\n{_transcript(turns[:number])}"
            call = {"api": turn["api_name"], "arguments": turn["param_dict"]}
            level = "level_2" if searched else "level_1"
            rows.append({"id": f"{dialogue}/{number}", "text": text, "level": level, **call})
    return rows


def _load(own: ApiBankSettings) -> tuple[list[DatasetRow], tuple[str, ...], tuple[str, ...]]:
    """The calls that are asked for, notes on the data, and the names of all APIs."""
    release = benchmark_rows(own.data, own.split, DATA)
    described = release if own.apis is None else benchmark_rows(own.apis, "", DATA)
    apis = _described(described)
    rows: list[DatasetRow] = []
    dialogues: dict[str, list[DatasetRow]] = {}
    for row in release.rows:
        if "dialogue" in row:
            dialogues.setdefault(row["dialogue"], []).extend(row["turns"])
        elif "text" in row:
            rows.append(row)
    for dialogue, turns in dialogues.items():
        rows += _calls(dialogue, turns, apis)
    if not rows:
        raise DataError(f"{own.data or DATA.hub} has no dialogues of API-Bank; fetch it again")
    return rows, release.notes, tuple(apis)


def _described(rows: BenchmarkRows) -> dict[str, DatasetRow]:
    described = [row["description"] for row in rows.rows if "description" in row]
    return {_SEARCHER: _SEARCHER_WORDS, **{api["name"]: api for api in described}}


@benchmark(ApiBankSettings, DATA)
def api_bank(own: ApiBankSettings) -> Task:
    """API-Bank: each call of an API in a conversation with known calls before it; right when API and arguments are.

    The score over calls, and over levels (macro): of level 1 the APIs are described, of level 2 they are searched for,
    of level 3 (rows of the Hub only) several follow one another. Arguments in free words are compared by ROUGE-L, which
    is a metric too. Source: Li et al. 2023 (API-Bank), evaluator.py; llama-models, eval_details, for how arguments are
    compared. Differs: nothing is run, so that a call which differs from the known one and has the same result is wrong;
    the words of the prompt are herd's, but for rows that hold theirs.
    """
    rows, notes, names = _load(own)
    questions = choose_rows(rows, own, lambda row: row["level"])
    if len(questions) < len(rows):
        notes += (f"{len(questions):,} of {len(rows):,} were asked",)

    def prompt(example: Example) -> Prompt:
        text = "\n\n".join(filter(None, (own.system_prompt, example.row["text"])))
        chat = Prompt.of(text, example.id).chat
        return Prompt(chat, f"{text}\nAPI-Request:")

    def grade(example: Example, answer: ModelAnswer) -> Grade:
        row = example.row
        verdict = grade_api_bank(
            answer.text,
            row["api"],
            row["arguments"],
            free_text=own.free_text,
            min_rouge=own.min_rouge,
            known_apis=names,
        )
        return as_grade(verdict)

    return Task(
        [Example(str(row["id"]), row) for row in questions],
        prompt,
        own.generation(256, ("\n",), chat_stop=()),
        grade,
        group=lambda example: example.row["level"],
        notes=notes,
    )
