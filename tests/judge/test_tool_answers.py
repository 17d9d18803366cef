"""Calls as API-Bank and Nexus have them."""

from __future__ import annotations

import time

import pytest

from herd.judge.tool_answers import (
    NO_DEFAULT,
    OTHER_KEYWORDS,
    api_bank_call,
    grade_api_bank,
    grade_nexus,
    nexus_calls,
    nexus_parameters,
)
from tests.judge.data import rows

ARGUMENTS = {"token": "o8i7", "time": "2023-09-12 13:50:00", "content": "meet the team at noon"}


@pytest.mark.parametrize(
    ("text", "score", "reason"),
    [
        ("[AddAgenda(token='o8i7', time='2023-09-12 13:50:00', content='meet the team at noon')]", 1, ""),
        ("API-Request: [AddAgenda(token='o8i7', time='2023-09-12 13:50:00', content='meet team at noon')]", 1, ""),
        ("[AddAgenda(token='o8i7', time='2023-09-12 13:51:00', content='meet the team at noon')]", 0, "invalid input"),
        ("[AddAgenda(token='o8i7', time='2023-09-12 13:50:00', content='x')]", 0, "invalid input: ['content']"),
        ("[AddAgenda(token='o8i7', content='x')]", 0, "missing parameter: ['time']"),
        ("[AddAgenda(token='o8i7', time='', content='x', place='y')]", 0, "invalid input: ['place']"),
        ("[AddAlarm(token='o8i7')]", 0, "wrong API"),
        ("[Dream()]", 0, "hallucinated API"),
        ("[AddAgenda(token='o8i7', time=]", 0, "no call"),
        ("Sure, I did.", 0, "no call"),
    ],
)
def test_api_bank(text: str, score: float, reason: str) -> None:
    known = ("AddAgenda", "AddAlarm")
    verdict = grade_api_bank(text, "AddAgenda", ARGUMENTS, free_text=("content",), known_apis=known)
    assert verdict.score == score, verdict
    assert verdict.reason.startswith(reason)


def test_hostile_answers_are_read_in_bounded_time() -> None:
    start = time.process_time()
    long = "0x" + "f" * 9000  # 10,837 digits, which Python does not write
    for text in ("[A(" * 30_000, "[A(" * 20_000 + ")]", "[A()] " * 10_000, "[ " * 40_000, f"[A(a={long})]"):
        assert grade_api_bank(text, "AddAgenda", {"a": "1"}).score == 0.0
    assert time.process_time() - start < 5
    assert api_bank_call("[A(] [B(a=1)]") is None  # up to the first end
    assert api_bank_call("[A(b=)] [B(a=1)  ]") == ("B", {"a": 1})


def test_every_call_of_the_shared_dialogues_is_its_own() -> None:
    count = 0
    for dialogue in rows("api_bank/dialogues.jsonl.gz"):
        for turn in dialogue["turns"]:
            if turn["role"] == "API":
                said = ", ".join(f"{name}={value!r}" for name, value in turn["param_dict"].items())
                text = f"API-Request: [{turn['api_name']}({said})]"
                assert api_bank_call(text) == (turn["api_name"], turn["param_dict"])
                assert grade_api_bank(text, turn["api_name"], turn["param_dict"]).score == 1
                count += 1
    assert count == 252


FUNCTIONS = {"near": {"place": NO_DEFAULT, "radius": 5}, "here": {}, "all_of": {"items": NO_DEFAULT, "order": "asc"}}


@pytest.mark.parametrize(
    ("text", "score"),
    [
        ("Call: near(place=here(), radius=5)", 1),
        ("near(here())", 1),
        ("```python\nnear(here(), 5);\n```", 1),
        ("near(place='here()')", 0),
        ("near(here(), radius=6)", 0),
        ("near()", 0),
        ("far(here())", 0),
        ("near(here(), 5, 6)", 0),
        ("near(here(), place=1)", 0),
        ("I would call near.", 0),
    ],
)
def test_nexus(text: str, score: float) -> None:
    assert grade_nexus(text, "near(place=here())", FUNCTIONS).score == score


def test_nexus_values_and_damaged_references() -> None:
    reference = "all_of(items=[near('x'), {'k': -1}], order=asc)"
    assert grade_nexus("all_of([near(place='x', radius=5), {'k': -1}], asc)", reference, FUNCTIONS).score == 1
    assert grade_nexus("all_of([near(place='x'), {'k': 1}], asc)", reference, FUNCTIONS).score == 0
    with pytest.raises(ValueError, match="is no call"):
        grade_nexus("near(1)", "nowhere(1)", FUNCTIONS)


@pytest.mark.parametrize(
    ("text", "calls"),
    [
        ("near(here())", [("here", {}), ("near", {"radius": 5})]),  # a call gives nothing
        ("near('x', radius=0); here()", [("near", {"place": "x"}), ("here", {})]),
        ("here()\nnear((1, 2))", [("here", {}), ("near", {"place": (1, 2), "radius": 5})]),
        ("near(here()[0])", [("here", {})]),  # an error, after a call
        ("all_of([here()])", [("here", {}), ("all_of", {"items": [None], "order": "asc"})]),
        ("near(here(), place='x')", [("here", {})]),
    ],
)
def test_calls_of_nexus_in_their_order(text: str, calls: list[tuple[str, dict[str, object]]]) -> None:
    assert nexus_calls(text, FUNCTIONS) == calls


@pytest.mark.parametrize("text", ["x = here()", "far()", "near(", "", "(" * 5000, "import os"])
def test_what_calls_nothing_is_no_answer(text: str) -> None:
    assert grade_nexus(text, "here()", FUNCTIONS).unparsed


def test_first_lines_of_functions_are_read() -> None:
    name, parameters = nexus_parameters("find(a: str, b: list[int] = [1], *, c=None, **others) -> None:")
    assert name == "find"
    assert parameters == {"a": NO_DEFAULT, "b": [1], "c": None, OTHER_KEYWORDS: None}
    assert nexus_calls("find('x', zeta=3)", {name: parameters}) == [("find", {"a": "x", "b": [1]})]
    for damaged in ("find(a", "3", "find(a=b())", ""):
        with pytest.raises(ValueError, match="no first line"):
            nexus_parameters(damaged)
