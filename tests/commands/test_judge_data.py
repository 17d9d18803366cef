"""`herd judge-data`: what it needs is asked for before anything is made."""

from __future__ import annotations

from pathlib import Path

import pytest

from herd.cli import main, parser
from tests.serve.test_compare import chat_model


def test_a_model_from_elsewhere_needs_a_rate_a_text_and_a_folder(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "new.jsonl").write_text('{"text": "new"}\n')
    command = ["judge-data", str(chat_model(tmp_path / "model")), str(tmp_path / "new.jsonl")]
    for more, words, wanted in (
        ([], "name one with --learning-rate", 1),
        (["--learning-rate", "1e-3"], "--default", 1),
        (["--default", str(tmp_path / "new.jsonl")], "name its folder with --out", 2),
    ):
        command += more
        code = main(command)
        assert (code, words in capsys.readouterr().err) == (wanted, True)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["model", "new.jsonl"]


def test_a_share_is_one_and_amounts_have_endings(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["judge-data", "run", "a", "b", "--tokens", "2M", "--seeds", "5", "--targets", "web", "wiki"]
    options = parser().parse_args(words)
    assert (options.tokens, options.seeds, options.data, options.targets) == (2_000_000, 5, ["a", "b"], ["web", "wiki"])
    for more in (["--share", "1.5"], ["--seeds", "0"], ["--tokens", "0"], ["--learning-rate", "nan"]):
        with pytest.raises(SystemExit) as ended:
            main(["judge-data", "run", "a", *more])
        assert ended.value.code == 2
        assert f"argument {more[0]}" in capsys.readouterr().err
