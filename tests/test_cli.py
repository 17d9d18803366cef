"""The command line: exit codes, sentences, and what is printed."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from herd.cli import main
from tests.smoke import SMOKE


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    code = main(arguments)
    out, err = capsys.readouterr()
    return code, out, err


def test_a_mistake_in_a_file_is_told_with_its_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    mine = tmp_path / "mine.yaml"
    mine.write_text("recipe: tiny\nbase:\n  tokens: 1000\n  lenght: 128\n")
    code, _, err = run(capsys, "plan", str(mine))
    assert code == 2
    assert f"{mine}, line 4: base.lenght is not a setting; did you mean 'length'?" in err


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("recipe: tinny\n", "did you mean 'tiny'"),
        ("title: x\n", "names no wiring"),
        ("recipe: [tiny\n", "not YAML"),
        ("- a\n- b\n", "holds a list"),
    ],
)
def test_a_file_that_is_no_recipe_is_refused(
    text: str, words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    mine = tmp_path / "mine.yaml"
    mine.write_text(text)
    code, _, err = run(capsys, "plan", str(mine))
    assert code == 2
    assert words in err


@pytest.mark.parametrize(
    ("arguments", "words", "wanted"),
    [
        (["run", "none.yaml"], "cannot be read", 2),
        (["run", "none.py"], "there is no such file", 2),
        (["run", "tinny"], "did you mean 'tiny'", 2),
        (["show", "nowhere"], "there is no such folder", 1),
        (["chat", "nowhere"], "neither a model nor a run", 1),
        (["eval", "nowhere", "perplexity"], "neither a model nor a run", 1),
        (["acceptance", "--row", "99"], "the table has rows 1 to 80", 2),
        (["run", "tiny", "--until", "pretrian"], "did you mean 'pretrain'", 2),
    ],
)
def test_each_mistake_is_one_sentence_with_its_exit_code(
    arguments: list[str],
    words: str,
    wanted: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    code, _, err = run(capsys, *arguments)
    assert code == wanted
    assert words in err
    assert "Traceback" not in err


def test_debug_shows_where_an_error_came_from(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="did you mean"):
        main(["plan", "tinny", "--debug"])


def test_eval_export_and_show_of_a_made_run(
    smoke_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, _ = run(capsys, "eval", str(smoke_run), "tools", "arithmetic: {questions: 20}", "--json")
    assert code == 0
    assert {name: row["questions"] for name, row in json.loads(out)["tasks"].items()} == {"tools": 6, "arithmetic": 20}
    code, _, err = run(capsys, "eval", str(smoke_run), "arithmetik")
    assert (code, "did you mean 'arithmetic'" in err) == (2, True)
    code, out, _ = run(capsys, "show", str(smoke_run))
    assert code == 0
    assert "Report" in out
    assert "Checkpoint" in out
    code, out, _ = run(capsys, "export", str(smoke_run), str(tmp_path / "out"))
    assert code == 0
    assert {file.name for file in (tmp_path / "out").iterdir()} == {
        "config.json",
        "generation_config.json",
        "model.safetensors",
        "checksums.json",
        "tokenizer.json",
        "tokenizer_config.json",
    }
    code, _, err = run(capsys, "export", str(smoke_run), str(tmp_path / "out"))
    assert code == 2
    assert "exists" in err


@pytest.mark.row(1, "logits")
def test_an_exported_model_gives_the_same_logits_in_transformers(smoke_run: Path, tmp_path: Path, figure) -> None:
    import torch
    import transformers

    from herd.model.weights import load_transformer
    from herd.serve.folders import model_in
    from herd.tokens.tokenizer import TextTokenizer

    assert main(["export", str(smoke_run), str(tmp_path / "out")]) == 0
    ours = load_transformer(model_in(smoke_run)).eval()
    theirs: Any = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "out", dtype=torch.float32)
    text = "What is 12 + 34? 2+4=6, 1+3+0=4, so 46."
    ids = transformers.AutoTokenizer.from_pretrained(tmp_path / "out")(text)["input_ids"]
    tokenizer = TextTokenizer.load(tmp_path / "out")
    assert ids == [tokenizer.bos_id, *tokenizer.encode(text)]
    with torch.inference_mode():
        difference = (ours(torch.tensor([ids])) - theirs(torch.tensor([ids])).logits).abs().max().item()
    figure(f"exported model: largest difference of logits {difference:.1e}")
    assert difference < 1e-5


def test_a_second_run_skips_everything(smoke_run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(capsys, "run", str(SMOKE), "--out", str(smoke_run))
    assert code == 0
    assert "65 of 65 stages are made already" in out
    assert "report:" in out
    assert "herd chat" in out


@pytest.mark.parametrize(("name", "keeps"), [("run", True), ("curate", True), ("eval", False), ("chat", False)])
def test_who_stops_a_command_is_told_whether_anything_of_it_is_kept(
    name: str, keeps: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from herd import cli

    def stopped(options: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("herd.core.native.start_building", lambda: None)
    commands = tuple(replace(one, run=stopped) if one.name == name else one for one in cli.COMMANDS)
    monkeypatch.setattr(cli, "COMMANDS", commands)
    words = {"run": ["tiny"], "curate": ["x", "--out", "y"]}.get(name, ["model"])
    assert cli.main([name, *words]) == cli.INTERRUPT_EXIT_CODE
    assert ("goes on from what is whole" in capsys.readouterr().err) == keeps
