"""`herd chat`: a conversation through a pipe."""

from __future__ import annotations

from pathlib import Path

import pytest

from herd.cli import main
from tests.damage import command
from tests.serve.test_compare import chat_model


def test_a_pipe_is_answered_line_by_line_and_the_same_again(tmp_path: Path) -> None:
    model = chat_model(tmp_path / "model")
    words = ("chat", model, "--temperature", "0.9", "--device", "cpu", "--seed")
    first, again, other = (command(*words, seed, types="hello there\n") for seed in ("1", "1", "2"))
    assert first.code == 0
    assert first.said.strip()
    assert first.said == again.said != other.said
    assert not first.said.startswith(str(model))  # only who types is told how to leave
    nothing = command(*words, "1", types="")
    assert (nothing.code, nothing.said.strip()) == (0, "")


def test_a_base_model_says_that_it_continues_text(tmp_path: Path) -> None:
    base, chats = (command("chat", chat_model(tmp_path / kind, kind=kind), types="a\n") for kind in ("base", "chat"))
    assert base.code == chats.code == 0
    assert "is a base model, never taught to answer: every line that you type is continued" in base.said
    assert "base model" not in chats.said


def test_a_device_that_is_none_is_told(tmp_path: Path) -> None:
    found = command("chat", chat_model(tmp_path / "model"), "--device", "tpu", types="hello\n")
    assert found.code in (1, 2)
    assert "tpu" in found.said


def test_a_temperature_is_a_number(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["chat", str(tmp_path), "--temperature", "warm"])
    assert ended.value.code == 2
    assert "'warm' is no number" in capsys.readouterr().err
