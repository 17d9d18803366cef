"""Two models side by side: what is asked, what is kept, and who may ask."""

from __future__ import annotations

import http.client
import json
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from herd.align.columns import read_rows
from herd.align.loading import load_dialogues, load_preferences
from herd.core.errors import ArtifactError, DataError, HerdError
from herd.core.records import Message
from herd.core.stage import Work
from herd.core.storage import read_preferences
from herd.generate.engine import SamplingParams
from herd.run.executors import LocalExecutor
from herd.serve.compare import Comparison, serve_comparison, server
from herd.train.checkpoint import Kind, write_checkpoint
from tests.model.test_transformer import SMALL, model
from tests.tokens.test_chat import TOKENIZER

ASKED = [{"role": "user", "content": "hello there"}]


def chat_model(folder: Path, kind: Kind = "chat") -> Path:
    folder.mkdir()
    write_checkpoint(
        folder, model(replace(SMALL, vocab_size=TOKENIZER.vocab_size, max_seq_len=128)), TOKENIZER, kind=kind
    )
    return folder


@pytest.fixture
def comparison(tmp_path: Path) -> Comparison:
    folders = [chat_model(tmp_path / name) for name in "ab"]
    return Comparison(folders, tmp_path / "kept.jsonl", SamplingParams(temperature=1.0, max_tokens=6))


def test_what_people_choose_is_read_by_the_next_round(comparison: Comparison, tmp_path: Path) -> None:
    for best, edited in ((0, ""), (1, "much better so")):
        found = comparison.ask(ASKED)
        told = comparison.choose(found["turn"], best, "better", edited or found["answers"][best])
        assert told["answer"] == (edited or found["answers"][best])
        assert sorted(Path(name).name for name in told["models"]) == ["a", "b"]
    assert len(read_rows(comparison.out).preferences) == 2
    (tmp_path / "brought").mkdir()
    work = Work(tmp_path / "brought", tmp_path, LocalExecutor())
    load_preferences.body(work, files=(str(comparison.out),))
    first, second = read_preferences(work.out)
    assert first.edited == ()
    assert second.edited == (Message("assistant", "much better so"),)
    assert second.prompt.last.content == "hello there"
    with pytest.raises(DataError, match="no conversations, only preferences"):
        load_dialogues.body(work, files=(str(comparison.out),))


def test_a_choice_counts_once_and_must_be_one(comparison: Comparison) -> None:
    turn = comparison.ask(ASKED)["turn"]
    with pytest.raises(DataError, match="choose side 0 or 1"):
        comparison.choose(turn, 2, "better")
    with pytest.raises(DataError, match="choose side 0 or 1"):
        comparison.choose(turn, 0, "best")
    comparison.choose(turn, 0, "marginally better")
    with pytest.raises(DataError, match="was chosen already"):
        comparison.choose(turn, 0, "better")
    with pytest.raises(DataError, match="ends with a question"):
        comparison.ask([])
    assert len(comparison.out.read_text(encoding="utf-8").splitlines()) == 1


def test_a_session_adds_to_what_is_there(comparison: Comparison, tmp_path: Path) -> None:
    comparison.ask(ASKED)  # not chosen, and so not kept
    comparison.choose(comparison.ask(ASKED)["turn"], 0, "better")
    again = Comparison([tmp_path / "a", tmp_path / "b"], comparison.out, SamplingParams(temperature=1.0, max_tokens=6))
    again.choose(again.ask(ASKED)["turn"], 1, "better")
    ids = [json.loads(line)["id"] for line in comparison.out.read_text(encoding="utf-8").splitlines()]
    assert ids == ["compare-0", "compare-1"]


@pytest.fixture
def address(comparison: Comparison) -> Iterator[int]:
    serving = server(comparison, 0)
    thread = threading.Thread(target=serving.serve_forever)
    thread.start()
    yield serving.server_port
    serving.shutdown()
    serving.server_close()
    thread.join()


def post(port: int, path: str, row: object, **headers: str) -> tuple[int, dict]:
    connection = http.client.HTTPConnection("127.0.0.1", port)
    connection.request("POST", path, json.dumps(row), headers)
    reply = connection.getresponse()
    found = json.loads(reply.read())
    connection.close()
    return reply.status, found


def test_the_page_and_what_it_asks_for(address: int) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", address)
    connection.request("GET", "/")
    reply = connection.getresponse()
    assert reply.status == 200
    assert b"Two models side by side" in reply.read()
    status, found = post(address, "/ask", {"messages": ASKED})
    assert status == 200
    assert len(found["answers"]) == 2
    status, told = post(address, "/choose", {"turn": found["turn"], "best": 1, "strength": "better"})
    assert status == 200
    assert told["answer"] == found["answers"][1]


@pytest.mark.parametrize(
    ("path", "row", "headers"),
    [
        ("/ask", {"messages": [{"role": "judge", "content": "?"}]}, {}),
        ("/ask", {}, {}),
        ("/ask", [], {}),
        ("/nowhere", {}, {}),
        ("/ask", {"messages": ASKED}, {"Origin": "http://elsewhere.example"}),
        ("/ask", {"messages": ASKED}, {"Host": "elsewhere.example:80"}),
    ],
)
def test_what_cannot_be_asked_is_refused_with_a_sentence(address: int, path: str, row: object, headers: dict) -> None:
    status, found = post(address, path, row, **headers)
    assert status == 400
    assert found["error"]


def test_models_that_do_not_chat_and_ports_that_are_taken(tmp_path: Path, comparison: Comparison, address: int) -> None:
    base = chat_model(tmp_path / "base", "base")
    with pytest.raises(ArtifactError, match="does not chat"):
        Comparison([base, base], tmp_path / "x.jsonl", SamplingParams())
    with pytest.raises(HerdError, match="name another with --port"):
        serve_comparison([tmp_path / "a", tmp_path / "b"], tmp_path / "x.jsonl", port=address, temperature=0.0)
