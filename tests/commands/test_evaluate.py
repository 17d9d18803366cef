"""`herd eval`: what a model scores, for people or as JSON."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from herd.cli import main
from herd.world import tasks as world_tasks
from tests.evals.servers import FakeServer, chat_reply
from tests.serve.test_compare import chat_model

assert world_tasks  # whose `arithmetic` is asked


def test_scores_are_lines_or_json_of_the_same(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = chat_model(tmp_path / "model")
    command = ["eval", str(model), "arithmetic: {questions: 3}", "--device", "cpu"]
    assert main([*command, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["model"] == str(model)
    assert list(found["tasks"]) == ["arithmetic"]
    assert found["tasks"]["arithmetic"]["questions"] == 3
    assert main(command) == 0
    (line,) = capsys.readouterr().out.splitlines()
    assert line.startswith("arithmetic           ")


def test_a_task_is_told_to_have_begun_and_a_wrong_one_before_the_model_is_read(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = chat_model(tmp_path / "model")
    assert main(["eval", str(model), "arithmetic: {questions: 3}", "--device", "cpu"]) == 0
    assert capsys.readouterr().err.startswith("arithmetic: started\n")
    (model / "model.safetensors").write_bytes(b"no weights")
    assert main(["eval", str(model), "arithmetik"]) == 2
    assert "did you mean 'arithmetic'" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("tasks", "words"),
    [
        ([], "was not measured by a run; name tasks"),
        (["arithmetik"], "did you mean 'arithmetic'"),
        (["arithmetic: {questons: 3}"], "did you mean 'questions'"),
    ],
)
def test_what_cannot_be_asked_is_wrong_use(
    tasks: list[str], words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["eval", str(chat_model(tmp_path / "model")), *tasks]) == 2
    assert words in capsys.readouterr().err


def test_answers_are_kept_with_a_page_and_gone_on_from(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model, out = chat_model(tmp_path / "model"), tmp_path / "out"
    command = ["eval", str(model), "arithmetic: {questions: 5}", "--device", "cpu", "--out", str(out)]
    assert main([*command, "--limit", "3", "--json"]) == 0
    told = capsys.readouterr()
    assert json.loads(told.out)["tasks"]["arithmetic"]["questions"] == 3
    assert f"page: {out / 'index.html'}" in told.err
    assert len((out / "arithmetic" / "answers.jsonl").read_text().splitlines()) == 3
    assert main(command) == 0
    assert len((out / "arithmetic" / "answers.jsonl").read_text().splitlines()) == 5
    assert (out / "index.html").exists()
    assert json.loads((out / "results.json").read_text())["n-samples"]["arithmetic"]["original"] == 5
    capsys.readouterr()
    assert main([*command[:2], "arithmetic: {questions: 6}", *command[3:]]) == 2
    assert "another `settings" in capsys.readouterr().err


def test_a_group_of_tasks_has_a_score_of_its_own(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    row = {
        "question": "Which flies?",
        "choices": {"text": ["a stone", "a bird"], "label": ["A", "B"]},
        "answerKey": "B",
    }
    for name in ("ARC-Easy", "ARC-Challenge"):
        (tmp_path / "data" / name).mkdir(parents=True)
        (tmp_path / "data" / name / "test.jsonl").write_text(json.dumps({"id": name, **row}))
    command = ["eval", str(chat_model(tmp_path / "model")), "ai2_arc: {num_fewshot: 0}", "--device", "cpu"]
    command += ["--data", str(tmp_path / "data"), "--apply-chat-template", "no"]
    assert main(command) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == ["arc_easy", "arc_challenge", "ai2_arc"]
    assert "mean of 2 tasks" in lines[2]
    assert main([*command, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    shares = [task["share"] for task in found["tasks"].values()]
    assert found["groups"]["ai2_arc"] == {"value": sum(shares) / 2, "tasks": 2, "by_group": {}}


def test_a_model_behind_an_address_is_measured_too(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = tmp_path / "sums.jsonl"
    rows.write_text("".join(json.dumps({"question": f"{a} + 1", "answer": str(a + 1)}) + "\n" for a in range(4)))

    def say(route: str, body: dict):
        return 200, {}, chat_reply(str(int(body["messages"][-1]["content"].split()[0]) + 1))

    with FakeServer(say).running() as server:
        command = ["eval", server.address, "--model", "small", f"short_answer: {{data: {rows}}}"]
        assert main([*command, "--limit", "3", "--out", str(tmp_path / "out")]) == 0
        assert capsys.readouterr().out.startswith("short_answer         1.000")
        assert len(server.asked) == 3
        assert main([*command, "--out", str(tmp_path / "out"), "--json"]) == 0
        assert json.loads(capsys.readouterr().out)["tasks"]["short_answer"]["questions"] == 4
        assert main([*command, "--json"]) == 0
        assert json.loads(capsys.readouterr().out)["model"] == f"small at {server.address}"
        assert main(["eval", server.address, command[-1]]) == 2
        assert "give one with --model" in capsys.readouterr().err
        command[3] = "other"
        assert main([*command, "--out", str(tmp_path / "out")]) == 2
        assert "another `model.name`" in capsys.readouterr().err
    settings = json.loads((tmp_path / "out" / "short_answer" / "settings.json").read_text())
    assert settings["model"] == {"name": "small", "address": server.address}


def test_a_fault_in_the_last_task_is_told_before_the_first_is_asked(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows, out = tmp_path / "sums.jsonl", tmp_path / "out"
    rows.write_text(json.dumps({"question": "1 + 1", "answer": "2"}) + "\n")
    good, broken = f"short_answer: {{data: {rows}}}", f"gsm8k: {{data: {rows}, num_fewshot: 0}}"
    with FakeServer(lambda route, body: (200, {}, chat_reply("2"))).running() as server:
        of_server = ["eval", server.address, "--model", "m", "--out", str(out)]
        for place in (["eval", str(chat_model(tmp_path / "model")), "--out", str(out)], of_server):
            assert main([*place, good, broken]) == 1
            assert "no line `#### N`" in capsys.readouterr().err
            assert main([*place, good, good]) == 2
            assert "is named twice" in capsys.readouterr().err
            assert not (out / "short_answer").exists()
        assert main([*of_server, good, "--truncate-left"]) == 2
        assert "leave --truncate-left out" in capsys.readouterr().err
        assert not server.asked
        # Answers under other settings are found before the task in front of them is asked.
        assert main([*of_server, good]) == 0
        other = f"short_answer: {{data: {rows}, max_tokens: 5}}"
        first = f"gsm8k: {{data: {tmp_path / 'solved.jsonl'}, num_fewshot: 0}}"
        (tmp_path / "solved.jsonl").write_text(json.dumps({"question": "1 + 1", "answer": "#### 2"}) + "\n")
        asked = len(server.asked)
        assert main([*of_server, first, other]) == 2
        assert "name another folder" in capsys.readouterr().err
        assert len(server.asked) == asked


def test_a_folder_that_cannot_be_written_is_a_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").write_text("x")
    command = ["eval", str(chat_model(tmp_path / "model")), "arithmetic: {questions: 1}", "--out"]
    assert main([*command, str(tmp_path / "file")]) == 1
    assert "name a folder that can be written" in capsys.readouterr().err
