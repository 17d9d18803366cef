"""`herd compare`: two models, and where it can serve."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from herd.cli import main, parser
from tests.serve.test_compare import chat_model


def test_both_models_must_chat_and_the_port_be_free(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    a, b, base = chat_model(tmp_path / "a"), chat_model(tmp_path / "b"), chat_model(tmp_path / "base", kind="base")
    out = tmp_path / "kept.jsonl"
    assert main(["compare", str(a), str(tmp_path / "none"), "--out", str(out)]) == 1
    assert "none is neither a model nor a run: there is no such folder" in capsys.readouterr().err
    assert main(["compare", str(a), str(base), "--out", str(out), "--port", "0"]) != 0
    assert str(base) in capsys.readouterr().err
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        assert main(["compare", str(a), str(b), "--out", str(out), "--port", port]) == 1
    assert f"port {port} cannot be taken" in capsys.readouterr().err
    assert not out.exists()


def test_two_models_and_no_more() -> None:
    options = parser().parse_args(["compare", "a", "b"])
    assert (options.checkpoints, options.out) == ([Path("a"), Path("b")], Path("preferences.jsonl"))
    for words in (["a"], ["a", "b", "c"]):
        with pytest.raises(SystemExit):
            parser().parse_args(["compare", *words])
