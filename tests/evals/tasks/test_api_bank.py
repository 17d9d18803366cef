"""API-Bank, in the shapes of its release, of the Hub, and of dialogues in one file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from herd.core.errors import DataError
from herd.core.records import Message
from herd.evals.task import Grade, ModelAnswer, Task
from tests.evals.test_choice_benchmarks import SHARED, made, rows_in

TOKEN = {"username": "ann", "password": "secret"}
AGENDA = {"token": "t1", "content": "Meeting with the team", "time": "2023-09-12 14:00:00"}


def api_turn(name: str, arguments: dict[str, str], output: Any) -> dict[str, Any]:
    result = {"api_name": name, "input": arguments, "output": output, "exception": None}
    return {"role": "API", "api_name": name, "param_dict": arguments, "result": result}


TURNS = [
    {"role": "User", "text": "Put the meeting into my agenda."},
    api_turn("GetUserToken", TOKEN, {"token": "t1"}),
    {"role": "AI", "text": "I have your token."},
    api_turn("AddAgenda", AGENDA, "success"),
    {"role": "AI", "text": "Done."},
]
SEARCH = [TURNS[0], api_turn("ToolSearcher", {"keywords": "add agenda"}, [{"name": "AddAgenda"}]), *TURNS[3:]]
APIS = """id,类名,expressions,api_info
1,GetUserToken,"GetUserToken(username: str, password: str)","description = ""Gets a token.""
input_parameters = {'username': {'type': 'str'}, 'password': {'type': 'str'}}"
2,AddAgenda,"AddAgenda(token: str, content: str, time: str)","description = ""Adds an item.""
input_parameters = {'token'}"
"""
RIGHT = "[AddAgenda(token='t1', content='A meeting with the team', time='2023-09-12 14:00:00')]"


def graded(task: Task, text: str, number: int) -> Grade:
    return task.judge(task.examples[number], ModelAnswer(text, Message("assistant", text)))


def release(folder: Path) -> Path:
    samples = folder / "lv1-lv2-samples"
    rows_in(samples, "level-1-given-desc/AddAgenda-level-2-1.jsonl", TURNS)
    rows_in(samples, "level-2-toolsearcher/AddAgenda-level-3-1.jsonl", SEARCH)
    rows_in(folder, "init_database/Account.json", [{"ann": {"token": "t1"}}])
    rows_in(folder, "data/exceptions.json", [{"anything": 1}])
    return folder


def test_every_call_of_the_release_is_asked_for(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no description of GetUserToken.*all_apis\.csv"):
        made("api_bank", release(tmp_path))
    (tmp_path / "data" / "all_apis.csv").write_text(APIS, encoding="utf-8")
    task = made("api_bank", tmp_path)
    assert task.group is not None
    assert [task.group(example) for example in task.examples] == ["level_1", "level_1", "level_2", "level_2"]
    prompt = task.prompt_for(task.examples[1])
    assert '"description": "Gets a token."' in prompt.plain
    assert '"call": "AddAgenda(token: str' in prompt.plain  # its description is damaged
    assert "API-Request: [GetUserToken(username='ann', password='secret')] -> {\"token\": \"t1\"}" in prompt.plain
    assert prompt.plain.endswith("AI: I have your token.\nAPI-Request:")
    assert prompt.chat.last.content == prompt.plain.removesuffix("\nAPI-Request:")
    searched = task.prompt_for(task.examples[3]).plain
    assert '"name": "ToolSearcher"' in searched
    assert "Gets a token." not in searched  # only what the search found, which stands in the conversation
    assert '-> [{"name": "AddAgenda"}]' in searched
    assert len(made("api_bank", tmp_path, subsets=("level_2",)).examples) == 2
    assert made("api_bank", tmp_path, limit=2).notes == ("2 of 4 were asked",)


def test_calls_are_compared_argument_by_argument(tmp_path: Path) -> None:
    table = tmp_path / "table" / "apis.csv"
    table.parent.mkdir()
    table.write_text(APIS, encoding="utf-8")
    task = made("api_bank", release(tmp_path / "data"), apis=str(table))
    assert graded(task, f" {RIGHT}", 1).score == 1.0
    assert graded(task, RIGHT, 1).parts["rouge_l"] == pytest.approx(8 / 9)
    assert "wrong API" in graded(task, "[GetUserToken(username='ann', password='secret')]", 1).reason
    assert "hallucinated API" in graded(task, "[AddMeeting(token='t1')]", 1).reason
    assert "['time'] differ" in graded(task, RIGHT.replace("14:00", "15:00"), 1).reason
    assert graded(task, "I added it.", 1).unparsed
    strict = made("api_bank", tmp_path / "data", apis=str(table), free_text=())
    assert graded(strict, RIGHT, 1).score == 0.0


def test_rows_of_the_hub_hold_their_prompt(tmp_path: Path) -> None:
    row = {"file": "a.jsonl", "id": 0, "instruction": "Make the call.", "input": "User: Go!\nGenerate API Request:"}
    test = tmp_path / "test-data"
    rows_in(test, "level-1-api.json", [{**row, "expected_output": f"API-Request: {RIGHT}"}])
    rows_in(test, "level-1-response.json", [{**row, "expected_output": "Done."}])
    rows_in(test, "level-3-batch-inf.json", [{**row, "output": f"API-Request: {RIGHT}"}, {**row, "output": "AI: Hi"}])
    rows_in(tmp_path, "training-data/lv1-train.json", [{"instruction": "i", "input": "", "output": "[F(a='1')]"}])
    task = made("api_bank", tmp_path)
    assert task.group is not None
    assert [task.group(example) for example in task.examples] == ["level_1", "level_3"]
    assert task.prompt_for(task.examples[0]).chat.last.content == "Make the call.\nUser: Go!\nGenerate API Request:"
    assert graded(task, RIGHT, 0).score == 1.0
    rows_in(test, "level-1-api.json", [{**row, "expected_output": "API-Request: [AddAgenda(token=]"}])
    with pytest.raises(DataError, match="cannot be read"):
        made("api_bank", tmp_path)
    rows_in(tmp_path / "other", "rows.jsonl", [{"question": "?"}])
    with pytest.raises(DataError, match="herd reads rows of liminghao1630/API-Bank"):
        made("api_bank", tmp_path / "other")


@pytest.mark.skipif(not (SHARED / "api_bank").exists(), reason="no benchmarks beside the repository")
def test_every_known_call_of_the_shared_dialogues_is_right() -> None:
    task = made("api_bank", SHARED / "api_bank")
    assert len(task.examples) == 252
    for number, example in enumerate(task.examples):
        said = ", ".join(f"{name}={value!r}" for name, value in example.row["arguments"].items())
        assert graded(task, f"[{example.row['api']}({said})]", number).score == 1.0
        if said:
            assert graded(task, f"[{example.row['api']}({said}, more='x')]", number).score == 0.0
            assert graded(task, f"[{example.row['api']}()]", number).score == 0.0
