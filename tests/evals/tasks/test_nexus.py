"""Nexus function calling, in the shapes of its release on the Hub."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from herd.core.errors import DataError
from herd.core.records import Message
from herd.evals.task import Grade, ModelAnswer, Task
from tests.evals.test_choice_benchmarks import made, rows_in

PLACES = [
    {"function_calls": "get_current_location() -> str", "descriptions": "Where one is."},
    {"function_calls": "find(topics: list, place: str = 'here', limit: int = 0)", "descriptions": "Finds places."},
]
REPORTS = [{"function_calls": "report(ip: str, x_apikey: str)", "descriptions": "A report on an address."}]
SEARCH = [{"function_calls": "searchCVE(cveId=None, limit=None, **kwargs)", "descriptions": "Searches."}]
NESTED = "find(topics=['tea'], place=get_current_location())"


def graded(task: Task, text: str, number: int = 0) -> Grade:
    return task.judge(task.examples[number], ModelAnswer(text, Message("assistant", text)))


def release(folder: Path) -> Path:
    train = "data/train-00000-of-00001.jsonl"
    multiple: list[dict[str, Any]] = [
        {"generated_question": "One report?", "fncall": ["report('1.1.1.1', x_apikey='k')"]},
        {"generated_question": "Two reports?", "fncall": ["report('1.1.1.1', 'k')", "report('2.2.2.2', 'k')"]},
    ]
    rows_in(folder, f"PlacesAPIBenchmark/{train}", [{"Input": "Tea nearby?", "Output": NESTED}])
    rows_in(folder, f"NVDLibraryBenchmark/{train}", [{"Input": "CVE 3?", "Output": "r = nvdlib.searchCVE(cveId='3')"}])
    rows_in(folder, f"vt_multiapi/{train}", multiple)
    return folder


def with_functions(folder: Path) -> Path:
    definitions = folder / "Function_Call_Definitions"
    for name, rows in {"Places": PLACES, "CVECPE": SEARCH, "VT_Multi (Nested)": REPORTS}.items():
        rows_in(definitions, f"{name}/train-00000-of-00001.jsonl", rows)
    return folder


def parts(task: Task) -> dict[str, int]:
    assert task.group is not None
    return {task.group(example): number for number, example in enumerate(task.examples)}


def test_questions_find_the_functions_of_their_part(tmp_path: Path) -> None:
    folder = tmp_path / "release"
    with pytest.raises(DataError, match=r"no functions of nvdlibrary, places.*Function_Call_Definitions"):
        made("nexus", release(folder))
    task = made("nexus", with_functions(folder))
    where = parts(task)
    assert [example.id for example in task.examples][-2:] == ["virustotal_nested", "virustotal_parallel"]
    assert set(where) == {"places", "nvdlibrary", "virustotal_nested", "virustotal_parallel"}
    absent = "nvdlibrary_nested, virustotal, otx, climate"
    assert task.notes == (f"without the parts {absent}, which the data has not",)
    prompt = task.prompt_for(task.examples[where["places"]])
    assert 'Function:\ndef get_current_location() -> str:\n"""\nWhere one is.\n"""\n' in prompt.plain
    assert prompt.plain.endswith("User Query: Tea nearby?\n\nCall:")
    assert prompt.chat.last.content.endswith("User Query: Tea nearby?")
    assert "searchCVE" not in prompt.plain
    elsewhere = made("nexus", release(tmp_path / "own"), functions=str(folder / "Function_Call_Definitions"))
    assert parts(elsewhere) == where
    assert len(made("nexus", folder, subsets=("places",)).examples) == 1


def test_calls_are_right_in_their_order_with_their_arguments(tmp_path: Path) -> None:
    task = made("nexus", with_functions(release(tmp_path)))
    where = parts(task)
    nested, parallel = where["places"], where["virustotal_parallel"]
    assert graded(task, f" {NESTED}", nested).score == 1.0
    assert graded(task, "```python\nfind(['tea'], get_current_location())\n```", nested).score == 1.0
    assert graded(task, "find(topics=['tea'], place='here')", nested).score == 0.0
    assert graded(task, "There is tea.", nested).unparsed
    assert graded(task, "report('1.1.1.1', 'k'); report(x_apikey='k', ip='2.2.2.2')", parallel).score == 1.0
    assert graded(task, "report('2.2.2.2', 'k'); report('1.1.1.1', 'k')", parallel).score == 0.0
    assert graded(task, "report('1.1.1.1', 'k')", parallel).score == 0.0
    assert graded(task, "searchCVE(cveId='3', other=1)", where["nvdlibrary"]).score == 1.0


def test_other_shapes_and_damaged_answers(tmp_path: Path) -> None:
    definitions = str(with_functions(tmp_path / "a") / "Function_Call_Definitions")
    folder = tmp_path / "b"
    csv = folder / "CVECPEAPIBenchmark" / "rows.csv"
    csv.parent.mkdir(parents=True)
    csv.write_text("Input,Output\nWhich?,\"['searchCVE(cveId=1)']\"\nNone?,nothing here\n", encoding="utf-8")
    own = tmp_path / "functions" / "CVECPE_Multi (Nested)"
    rows_in(own, "train.jsonl", SEARCH)
    task = made("nexus", folder, functions=str(own.parent))
    assert parts(task) == {"nvdlibrary_nested": 1}
    assert graded(task, "searchCVE(1)", 0).score == 1.0
    assert task.notes[1:] == ("1 known answers call nothing that is described, so that every answer there is wrong",)
    assert graded(task, "searchCVE(1)", 1).score == 0.0
    both = [
        {"generated_question": "q", "fncall": ["report('1', 'k')"]},
        {"generated_question": "q", "fncall": ["a"] * 2},
    ]
    rows_in(tmp_path / "c", "VirusTotal-NestedCalls/data/train.jsonl", both)
    assert len(made("nexus", tmp_path / "c", functions=definitions).examples) == 1
    rows_in(tmp_path / "d", "unknown/train.jsonl", [{"Input": "q", "Output": "f()"}])
    with pytest.raises(DataError, match="its name says none of the parts"):
        made("nexus", tmp_path / "d", functions=definitions)
    rows_in(tmp_path / "e", "Function_Call_Definitions/Places/train.jsonl", [{**PLACES[0], "function_calls": "a b"}])
    with pytest.raises(DataError, match="no first line of a function"):
        made("nexus", tmp_path / "e")
