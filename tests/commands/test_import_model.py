"""`herd import`: a model brought in, with how closely it agrees, or nothing."""

from __future__ import annotations

from pathlib import Path

import pytest

from herd.cli import main
from tests.model.test_transformer import SMALL
from tests.serve.test_compare import chat_model


def test_a_model_is_brought_in_with_its_size_and_how_to_talk_to_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source, out = chat_model(tmp_path / "model"), tmp_path / "mine"
    assert main(["import", str(source), str(out)]) == 0
    said = capsys.readouterr().out
    weights = SMALL.num_params  # of another vocabulary
    assert f"{out}: " in said
    assert int(said.split()[1].replace(",", "")) > weights
    assert f"chat: herd chat {out}" in said
    assert main(["import", str(source), str(out)]) == 2
    assert "exists" in capsys.readouterr().err


def test_what_is_no_model_leaves_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["import", str(tmp_path / "none"), str(tmp_path / "out")]) != 0
    assert "none" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
