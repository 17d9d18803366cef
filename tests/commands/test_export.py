"""`herd export`: a model for other programs, and which of them reads it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from herd.cli import main
from tests.serve.test_compare import chat_model


def test_a_folder_and_a_file_name_what_reads_them(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = chat_model(tmp_path / "model")
    out = tmp_path / "out"
    assert main(["export", str(model), str(out), "--weight-format", "bfloat16", "--shard-gb", "0.001"]) == 0
    assert f"transformers.AutoModelForCausalLM.from_pretrained({str(out)!r}) reads it" in capsys.readouterr().out
    assert json.loads((out / "config.json").read_text())["torch_dtype"] == "bfloat16"
    gguf = tmp_path / "a.gguf"
    assert main(["export", str(model), str(gguf), "--weight-format", "f16"]) == 0
    assert f"{gguf}: llama-cli -m {gguf} reads it" in capsys.readouterr().out
    assert gguf.read_bytes().startswith(b"GGUF")


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--weight-format", "int7"], "'int7' is no form of weights; choose one of float32"),
        (["--shard-gb", "0"], "shard-gb"),
    ],
)
def test_what_cannot_be_written_leaves_nothing(
    words: list[str], told: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["export", str(chat_model(tmp_path / "model")), str(tmp_path / "new" / "out"), *words]
    try:
        code = main(command)
    except SystemExit as ended:
        code = ended.code
    assert code == 2
    assert told in capsys.readouterr().err
    assert [file.name for file in tmp_path.iterdir()] == ["model"]
