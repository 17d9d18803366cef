"""Nexus function calling: single, nested and parallel calls of described functions."""

from __future__ import annotations

import ast
import re
from collections.abc import Mapping
from typing import Any

from herd.core.errors import DataError
from herd.core.settings import InputFile, settings
from herd.evals.benchmarks import GenerationSettings, as_grade, benchmark, choose_rows
from herd.evals.datasets import BenchmarkData, DatasetRow, RowForm, benchmark_rows
from herd.evals.task import Example, Grade, ModelAnswer, Prompt, Task
from herd.judge.tool_answers import grade_nexus, nexus_calls, nexus_parameters

# Of each part: what a folder or file of its questions is called, and of its functions, without signs and case; the
# first that fits. VirusTotal's nested and parallel calls are of one file.
_MULTIPLE = "virustotal_multiple"
_QUESTION_NAMES = {
    "nvdlibrary_nested": ("cvecpe", "nvdlibrarynested"),
    "virustotal_nested": ("virustotalnested",),
    "virustotal_parallel": ("virustotalparallel",),
    _MULTIPLE: ("vtmulti", "virustotalmultiple"),
    "nvdlibrary": ("nvdlibrary",),
    "virustotal": ("virustotal",),
    "otx": ("otx",),
    "places": ("places",),
    "climate": ("climate",),
}
_FUNCTION_NAMES = {
    "nvdlibrary_nested": ("cvecpemulti",),
    _MULTIPLE: ("vtmulti",),
    "nvdlibrary": ("cvecpe", "nvdlibrary"),
    "virustotal": ("virustotal",),
    "otx": ("otx",),
    "places": ("places",),
    "climate": ("climate",),
}
PARTS = tuple(part for part in _QUESTION_NAMES if part != _MULTIPLE)


@settings
class NexusSettings(GenerationSettings):
    """As all benchmarks have them; subsets are its eight parts. functions: the release's `Function_Call_Definitions`,
    where they do not lie in the data."""

    functions: InputFile | None = None


def _part(file: str, names: Mapping[str, tuple[str, ...]]) -> str:
    plain = re.sub(r"[^a-z0-9]", "", file.lower())
    for part, own in names.items():
        if any(name in plain for name in own):
            return part
    raise ValueError(f"its name says none of the parts {', '.join(names)}")


def _joined(value: Any, between: str) -> tuple[str, int]:
    """Calls as one text, and how many they are; also of a list that a CSV file holds as text."""
    if isinstance(value, str) and value.lstrip().startswith("["):
        value = ast.literal_eval(value.strip())
    calls = [value] if isinstance(value, str) else list(value)
    return between.join(calls), len(calls)


def _single(row: DatasetRow, file: str) -> DatasetRow:
    reference, _ = _joined(row["Output"], "")
    part = _part(file, _QUESTION_NAMES)
    text = reference.strip().replace("r = nvdlib.", "")
    return {"id": part, "part": part, "question": row["Input"], "reference": text}


def _multiple(row: DatasetRow, file: str) -> DatasetRow | list[DatasetRow]:
    """Source: Nexusflow's notebook, which takes one call for nested and several for parallel."""
    reference, count = _joined(row["fncall"], "; ")
    part = "virustotal_nested" if count == 1 else "virustotal_parallel"
    named = _part(file, _QUESTION_NAMES)
    if named not in (_MULTIPLE, part):
        return []  # a folder of one of the two, which holds the file of both
    return {"id": part, "part": part, "question": row["generated_question"], "reference": reference.strip()}


def _function(row: DatasetRow, file: str) -> DatasetRow:
    name, parameters = nexus_parameters(row["function_calls"])
    part, words = _part(file, _FUNCTION_NAMES), row["descriptions"]
    return {"functions_of": part, "name": name, "parameters": parameters, "line": row["function_calls"], "words": words}


_QUESTIONS = (
    RowForm(("Input", "Output"), _single),
    RowForm(("generated_question", "fncall"), _multiple),
)
_FUNCTIONS = (RowForm(("function_calls", "descriptions"), _function),)
DATA = BenchmarkData(
    "Nexusflow/{config}",
    (*_QUESTIONS, *_FUNCTIONS),
    configs=(
        "NVDLibraryBenchmark",
        "VirusTotalBenchmark",
        "OTXAPIBenchmark",
        "PlacesAPIBenchmark",
        "ClimateAPIBenchmark",
        "vt_multiapi",
        "CVECPEAPIBenchmark",
    ),
    names=("nexus", "nexus_function_calling", "nexusraven"),
    splits={},
)
DEFINITIONS = BenchmarkData(
    "Nexusflow/Function_Call_Definitions",
    _FUNCTIONS,
    configs=(
        "CVECPE",
        "VirusTotal",
        "OTX",
        "Places",
        "Climate",
        "VT_Multi (Nested)",
        "VT_Multi (Parallel)",
        "CVECPE_Multi (Nested)",
    ),
    splits={},
)


def _functions(rows: tuple[DatasetRow, ...]) -> dict[str, dict[str, DatasetRow]]:
    """The functions of each part, by name."""
    functions: dict[str, dict[str, DatasetRow]] = {}
    for row in rows:
        if "functions_of" in row:
            functions.setdefault(row["functions_of"], {})[row["name"]] = row
    if _MULTIPLE in functions:
        functions["virustotal_nested"] = functions["virustotal_parallel"] = functions.pop(_MULTIPLE)
    return functions


def _parameters(functions: Mapping[str, DatasetRow]) -> dict[str, Mapping[str, Any]]:
    return {name: row["parameters"] for name, row in functions.items()}


def _describe(functions: Mapping[str, DatasetRow]) -> str:
    return "\n".join(
        f'Function:\ndef {row["line"].strip().rstrip(":")}:\n"""\n{row["words"].strip()}\n"""\n'
        for row in functions.values()
    )


def _load(own: NexusSettings) -> tuple[list[DatasetRow], dict[str, dict[str, DatasetRow]], tuple[str, ...]]:
    release = benchmark_rows(own.data, own.split or "train", DATA)
    described = release.rows
    if own.functions is not None or own.data is None:
        described = benchmark_rows(own.functions, "train", DEFINITIONS).rows
    rows = [row for row in release.rows if "reference" in row]
    functions = _functions(described)
    if not rows:
        raise DataError(f"{own.data} has no questions of Nexus; fetch it again")
    if missing := sorted({row["part"] for row in rows} - functions.keys()):
        raise DataError(
            f"nexus has no functions of {', '.join(missing)}; put the release's `Function_Call_Definitions` in its "
            "folder, or name it as `functions`"
        )
    notes = release.notes
    if absent := [part for part in PARTS if part not in {row["part"] for row in rows}]:
        notes += (f"without the parts {', '.join(absent)}, which the data has not",)
    return rows, functions, notes


def _is_read(row: DatasetRow, functions: Mapping[str, DatasetRow]) -> bool:
    try:
        return bool(nexus_calls(row["reference"], _parameters(functions)))
    except ValueError:
        return False


@benchmark(NexusSettings, DATA)
def nexus(own: NexusSettings) -> Task:
    """Nexus function calling: eight parts of single, nested and parallel calls; right when the known calls are made in
    their order with their arguments.

    The score over questions, and over parts (macro), which Llama 3 reports. Questions and functions are those of the
    release: one folder or file of each part, and `Function_Call_Definitions`. Source: Nexusflow 2023 (NexusRaven-V2),
    its evaluation notebook; llama-models, eval_details. Differs: nothing is run; the instruction before the functions
    is herd's; the ninth part, which the authors keep, is no part of it.
    """
    rows, functions, notes = _load(own)
    questions = choose_rows(rows, own, lambda row: row["part"])
    if len(questions) < len(rows):
        notes += (f"{len(questions):,} of {len(rows):,} were asked",)
    if broken := sum(not _is_read(row, functions[row["part"]]) for row in questions):
        notes += (f"{broken:,} known answers call nothing that is described, so that every answer there is wrong",)
    described = {part: _describe(own_functions) for part, own_functions in functions.items()}

    def prompt(example: Example) -> Prompt:
        words = (
            "Answer the query with calls of the Python functions below, and with nothing else: no variables, no "
            "explanation. The arguments of a call may be calls; several calls one after another are parted by `; `."
        )
        parts = (own.system_prompt, words, described[example.row["part"]], f"User Query: {example.row['question']}")
        text = "\n\n".join(filter(None, parts))
        return Prompt(Prompt.of(text, example.id).chat, f"{text}\n\nCall:")

    def grade(example: Example, answer: ModelAnswer) -> Grade:
        row = example.row
        try:
            return as_grade(grade_nexus(answer.text, row["reference"], _parameters(functions[row["part"]])))
        except ValueError as fault:
            return Grade(0.0, "", str(fault)[:300])

    return Task(
        [Example(str(row["id"]), row) for row in questions],
        prompt,
        own.generation(512, ("\n",), chat_stop=()),
        grade,
        group=lambda example: example.row["part"],
        notes=notes,
    )
