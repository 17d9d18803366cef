"""What the commands that fine-tune share: numbers from options, rows shown first, and refusals that leave nothing."""

from __future__ import annotations

import argparse
import json
import re
from pathlib import Path
from typing import Any

import pytest
import torch

from herd.align.results import FinetuningResult
from herd.cli import main
from herd.commands.finetuning import add_finetuning_options, folder_name, shown_rows, stage_numbers
from herd.core.errors import DataError
from herd.core.settings import parse_yaml, read_yaml
from herd.evals.results import ValidationCurve
from herd.model import devices
from herd.serve.folders import artifacts_in
from tests.serve.test_compare import chat_model


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    chat_model(tmp_path / "smol")
    write(tmp_path / "rows.jsonl", *({"prompt": f"say {n}", "response": "hello"} for n in range(30)))
    write(tmp_path / "pairs.jsonl", *({"prompt": f"say {n}", "chosen": "hello", "rejected": "no"} for n in range(30)))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write(file: Path, *rows: dict[str, str]) -> None:
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))


def options(*arguments: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    add_finetuning_options(parser, "rows")
    return parser.parse_args(["smol", "rows.jsonl", *arguments])


@pytest.mark.parametrize(
    ("arguments", "wanted"),
    [
        ((), {"lr": 1.2e-3}),
        (("--lora", "4"), {"lora": {"rank": 4}, "lr": 1.2e-2}),
        (("--full", "--learning-rate", "1e-4", "--epochs", "3"), {"lr": 1e-4, "epochs": 3}),
        (("--steps", "9k", "--batch-size", "2"), {"steps": 9000, "batch_size": 2, "dataloader_drop_last": False}),
        (("--early-stop", "--patience", "2", "--eval-steps", "50"), {"early_stop": True, "patience": 2}),
    ],
)
def test_options_are_numbers_of_the_stage(own: Path, arguments: tuple[str, ...], wanted: dict) -> None:
    numbers = stage_numbers(options(*arguments), own / "smol", 1.0)
    assert {name: numbers[name] for name in wanted if name != "lr"} == {n: v for n, v in wanted.items() if n != "lr"}
    assert numbers["lr"] == pytest.approx(wanted.get("lr", 1.2e-3), rel=0.1)
    assert ("lora" in numbers) == ("lora" in wanted)


def test_a_large_model_on_one_device_gets_adapters_and_is_told(
    own: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("herd.commands.finetuning._LORA_ABOVE", 10)
    assert stage_numbers(options(), own / "smol", 1.0)["lora"] == {"rank": 16}
    assert "adapters of rank 16 beside" in capsys.readouterr().out
    assert "lora" not in stage_numbers(options("--full"), own / "smol", 1.0)
    assert "lora" not in stage_numbers(options("--gpus", "2"), own / "smol", 1.0)


def test_rows_are_shown_as_the_model_reads_them_and_faults_are_refused(
    own: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = (str(own / "rows.jsonl"), str(own / "pairs.jsonl"))
    shown_rows(own / "smol", files[:1], 1)
    assert capsys.readouterr().out.count("»hello«") == 1
    shown_rows(own / "smol", files, 1)
    out = capsys.readouterr().out
    assert out.count("»hello«") == 2  # one row of each file at least
    assert "-- rows --\n" in out
    assert "30 conversations, 30 preferences" in out
    assert "    pairs: 30 rows, 1,300 tokens (67% of all), 14% of them learnt" in out
    write(own / "tests.jsonl", {"prompt": "say 3", "response": "hello"})
    with pytest.raises(DataError, match="2 faults in 60 rows: 2 holding a question of the tests"):
        shown_rows(own / "smol", files, 1, tests=own / "tests.jsonl")


@pytest.mark.parametrize(
    ("command", "words", "code"),
    [
        (["sft", "smol.gguf", "rows.jsonl"], "`herd import smol.gguf smol` makes a folder of it first", 2),
        (["sft", "nothing", "rows.jsonl"], "neither a model nor a run", 1),
        (["sft", "smol", "none.jsonl"], "there is no such file; name a file of rows", 2),
        (["sft", "smol", "columns.jsonl"], "no row can be used", 1),
        (["dpo", "smol", "rows.jsonl"], "no preferences, only conversations", 1),
        (["reward", "smol", "rows.jsonl"], "no preferences, only conversations", 1),
        (["sft", "smol", "pairs.jsonl"], "no conversations, only preferences", 1),
        (["dpo", "smol", "pairs.jsonl", "--loss", "dpoo"], "did you mean 'dpo'", 2),
        (["sft", "smol", "rows.jsonl", "--held-out-share", "0", "--early-stop"], "set held_out_share above 0", 2),
        (["sft", "smol", "rows.jsonl", "--tasks", "nonsense"], "nonsense", 2),
    ],
)
def test_what_cannot_be_is_one_sentence_and_leaves_nothing(
    own: Path, capsys: pytest.CaptureFixture[str], command: list[str], words: str, code: int
) -> None:
    (own / "smol.gguf").write_text("GGUF")
    write(own / "columns.jsonl", {"foo": "1", "bar": "2"})
    assert main([*command, "--jobs", "0"]) == code
    err = capsys.readouterr().err
    assert words in err
    assert len(err.strip().splitlines()) == 1
    assert not (own / "runs").exists()


def test_a_run_is_called_as_the_models_folder_or_its_run(own: Path) -> None:
    assert folder_name(Path("smol")) == "smol"
    assert folder_name(own / "runs" / "sft-smol" / "artifacts" / "sft-12") == "sft-smol"


def test_paths_in_the_recipe_are_whole(own: Path) -> None:
    assert (
        main(
            ["sft", "smol", "rows.jsonl", "--steps", "1", "--length", "32", "--jobs", "0", "--until", "load_dialogues"]
        )
        == 0
    )
    values, _ = read_yaml(own / "runs" / "sft-smol" / "recipe.yaml")
    assert values["recipe"] == "sft"
    assert values["model"] == str((own / "smol").resolve())
    assert values["dialogues"] == [str((own / "rows.jsonl").resolve())]


def test_named_files_keep_their_names_to_the_report(own: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(own / "more.jsonl", *({"prompt": f"ask {n}", "response": "yes", "source": "theirs"} for n in range(40)))
    write(own / "apart.jsonl", *({"prompt": f"apart {n}", "response": "hello"} for n in range(4)))
    command = ["sft", "smol", "more.jsonl", "mine=rows.jsonl", "--steps", "2", "--length", "32", "--jobs", "0"]
    assert main(command) == 0
    out = capsys.readouterr().out
    assert "    mine: 30 rows, 650 tokens" in out
    assert re.search(r"by source, to learn from and held out: more \d\d and \d, mine \d\d and \d", out)
    run = own / "runs" / "sft-smol"
    values, _ = read_yaml(run / "recipe.yaml")
    assert values["dialogues"] == {"mine": [str(own / "rows.jsonl")], "more": [str(own / "more.jsonl")]}
    made = {artifact.metadata["stage"]: artifact for artifact in artifacts_in(run)}
    tuned = made["sft"]
    curve = tuned.result(ValidationCurve)
    assert set(curve.sources) == {"mine", "more"}
    assert sum(own_figures.examples for own_figures in curve.sources.values()) == curve.examples
    assert set(tuned.result(FinetuningResult).sources) == {"mine", "more"}
    (page,) = made["write_report"].path.glob("*.html")
    assert "Before and after by source: sft" in page.read_text(encoding="utf-8")
    # Without names rows name their source themselves, those that do not are called as their file.
    assert main(["sft", "smol", "more.jsonl", "rows.jsonl", "--held-out", "own=apart.jsonl", "--dry-run"]) == 0
    out = capsys.readouterr().out
    assert "by source, to learn from and held out: theirs 40 and 0, rows 30 and 0, own 0 and 4" in out


def shown(capsys: pytest.CaptureFixture[str], command: str, *arguments: str) -> tuple[dict[str, Any], str]:
    """What a dry run writes of the stage, and what it says before."""
    rows = "rows.jsonl" if command == "sft" else "pairs.jsonl"
    assert main([command, "smol", rows, *arguments, "--dry-run"]) == 0
    said, _, written = capsys.readouterr().out.partition("recipe.yaml:\n\n")
    return parse_yaml(written, where="test")[command], said


@pytest.mark.parametrize(("command", "is_compiled"), [("sft", True), ("dpo", False), ("reward", False)])
def test_a_gpu_trains_in_bf16_and_says_so(
    own: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, command: str, is_compiled: bool
) -> None:
    numbers, said = shown(capsys, command)
    assert not {"dtype", "compile", "layout"} & set(numbers)
    assert "bf16" not in said
    for visible, arguments in ((False, ("--gpus", "1")), (True, ()), (False, ("--sbatch", "job"))):
        with monkeypatch.context() as patch:
            if visible:
                patch.setattr(devices, "default_device", lambda: torch.device("cuda", 0))
                patch.setattr(torch.cuda, "is_available", lambda: True)
                patch.setattr(torch.cuda, "is_bf16_supported", lambda emulated: True)
            numbers, said = shown(capsys, command, *arguments)
        assert (numbers["dtype"], numbers.get("compile", False)) == ("bf16", is_compiled)
        assert (
            f"{command}: training in bf16, with weights and their moments in fp32 (--dtype fp32: all in fp32)" in said
        )
        assert (f"{command}: compiled" in said) == is_compiled
        for words in (("--dtype", "fp32"), ("--device", "cpu")):
            assert "dtype" not in shown(capsys, command, *arguments, *words)[0]
    assert shown(capsys, command, "--dtype", "bf16")[0]["dtype"] == "bf16"
    assert "compile" not in shown(capsys, command, "--gpus", "1", "--lora", "4")[0]


@pytest.mark.parametrize("command", ["sft", "dpo", "reward"])
def test_devices_share_a_batch_or_fewer_of_them_do(own: Path, capsys: pytest.CaptureFixture[str], command: str) -> None:
    write(own / "rows.jsonl", *({"prompt": f"say {n}", "response": f"hello {n}"} for n in range(900)))
    numbers, said = shown(capsys, command, "--gpus", "6", "--steps", "3")
    usual = 8 if command == "sft" else 16
    assert (numbers["batch_size"], numbers["layout"]["data"]) == (-(-usual // 6) * 6, 6)
    assert f"batches of {numbers['batch_size']} rows in the place of {usual}, so that 6 devices share them" in said
    numbers, said = shown(capsys, command, "--gpus", "6", "--batch-size", "4", "--steps", "3")
    assert (numbers["batch_size"], numbers["layout"]["data"]) == (4, 4)
    assert f"{command} takes 4 of 6 devices: 6 do not share a batch of 4" in said


def test_what_devices_cannot_share_is_refused_before_anything_runs(
    own: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["sft", "smol", "rows.jsonl", "--set", "sft.layout={data: 16}", "--dry-run"]) == 2
    assert "a batch of 8 cannot be divided by 16 data ranks; set batch_size to 16" in capsys.readouterr().err
    # Thirty short dialogues make fewer rows than there are devices.
    assert main(["sft", "smol", "rows.jsonl", "--gpus", "16", "--dry-run"]) == 1
    assert "rows are fewer than the 16 data ranks that share a step" in capsys.readouterr().err
