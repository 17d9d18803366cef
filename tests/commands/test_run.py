"""`herd run`: what it refuses before anything runs, and how it is told."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import pytest

from herd.cli import main
from herd.commands.run import check_whole_models, parse_trace_steps
from herd.core.errors import SettingsError
from herd.core.recipe import load_recipe
from herd.recipes import recipes
from herd.serve.folders import artifacts_in
from tests.smoke import SMOKE
from tests.test_cli import run


@pytest.mark.parametrize(
    ("sets", "words"),
    [
        ("base.min_lr_rato=0.1", "did you mean 'min_lr_ratio'"),
        ("base.tokens=many", "base.tokens is"),
        ("base.size.dim=102", "dim 102 is not a multiple of n_heads"),
        ("base.size.n_heads=0", "greater than 0"),
        ("sources=[wikipedai]", "'wikipedia'"),
        ("dpo.loss=dpq", "did you mean 'dpo'"),
        ("curate.rules.web=[word_cuont]", "did you mean 'word_count'"),
        ("anneal.mixture_weights.summs=1", "did you mean 'sums'"),
        ("anneal.mixture_weights.sums=0.2", "sum to 0.2; write shares of all sources"),
        ("longer=3", "longer is 3"),
        ("nothing", "write --set name=value"),
    ],
)
def test_wrong_numbers_are_refused_before_anything_runs(
    sets: str, words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, _, err = run(capsys, "run", "tiny", "--out", str(tmp_path / "run"), "--set", sets)
    assert code == 2
    assert words in err
    assert "Traceback" not in err
    assert not (tmp_path / "run").exists()


RECIPE = '''
from herd.core.artifacts import Corpus, Tokens
from herd.core.settings import PositiveInt, settings
from herd.core.stage import Work, stage
from herd.recipes import recipes

@settings
class OwnSettings:
    times: PositiveInt = 2

@stage(paper="-", version=1)
def {name}_write(work: Work, *, text: str) -> Corpus:
    """A file."""
    (work.out / "text").write_text(text)
    return Corpus(work.out)

@stage(paper="-", version=1)
def {name}_join(work: Work, parts: tuple[Corpus, ...], *, times: PositiveInt) -> Tokens:
    """The texts of all."""
    text = "".join((part.path / "text").read_text() for part in parts)
    (work.out / "text").write_text(text * times)
    return Tokens(work.out)

@recipes.add
def {name}(s: OwnSettings) -> Tokens:
    """Two files and their texts."""
    return {name}_join(({name}_write(text="a"), {name}_write(text="b")), times=s.times)
'''


def own_recipe(folder: Path, name: str) -> Path:
    """A recipe of three small stages in a user's own file, which no other test may call as this one."""
    file = folder / f"{name}.py"
    file.write_text(RECIPE.replace("{name}", name))
    return file


def test_a_recipe_runs_where_and_how_it_was_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    recipe, out = own_recipe(tmp_path, "ran"), tmp_path / "run"
    command = ("run", str(recipe), "--out", str(out), "--jobs", "0")
    code, said, _ = run(capsys, *command, "--set", "times=3", "--device", "cpu", "--dtype", "bf16")
    assert code == 0
    made = artifacts_in(out)[-1]
    assert f"made: {made.path}" in said
    assert "report:" not in said
    assert "chat:" not in said  # there is no model to talk to
    assert (made.path / "text").read_text() == "ababab"
    assert (made.metadata["cost"]["device"], made.metadata["cost"]["dtype"]) == ("cpu", "bf16")
    code, said, _ = run(capsys, *command, "--set", "times=3")
    assert (code, "3 of 3 stages are made already" in said) == (0, True)
    assert run(capsys, *command, "--until", "ran_write")[0] == 0
    assert len(artifacts_in(out)) == 3  # the same ones, and no stage of other numbers


def test_it_runs_beneath_the_folder_one_is_in_when_no_other_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    own_recipe(tmp_path, "beneath")
    assert run(capsys, "run", "beneath.py", "--jobs", "0")[0] == 0
    assert json.loads(
        (next((tmp_path / "runs" / "beneath" / "artifacts").glob("*join*")) / "artifact.json").read_text()
    )


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--compare-every", "0"), "--compare-every is 0; give 1 step or more"),
        (("--executor", "mars"), "executor 'mars'"),
        (("--until", "wrongly"), "--until wrongly: this recipe has no such stage"),
    ],
)
def test_options_that_cannot_be_are_wrong_use(
    words: tuple[str, ...], told: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe = own_recipe(tmp_path, f"refused_{words[0].strip('-').replace('-', '_')}")
    code, _, err = run(capsys, "run", str(recipe), "--out", str(tmp_path / "run"), "--jobs", "0", *words)
    assert (code, told in err) == (2, True)
    assert not list((tmp_path / "run").glob("artifacts/*"))


def test_steps_to_trace_are_a_first_one_and_how_many() -> None:
    assert parse_trace_steps("10:3") == (10, 3)
    for text in ("10", "10:", ":3", "0:3", "3:0", "-1:3", "1:2:3", "a:b", "1.5:2"):
        with pytest.raises(argparse.ArgumentTypeError, match="names no steps; write the first and how many"):
            parse_trace_steps(text)


def test_trackers_add_up_and_numbers_have_bounds(capsys: pytest.CaptureFixture[str]) -> None:
    from herd.cli import parser

    options = parser().parse_args(["run", "tiny", "--log", "wandb", "--log", "trackio", "--save-every", "0"])
    assert (options.log, options.save_every, options.keep_every, options.gc_every) == (["wandb", "trackio"], 0.0, 0, 50)
    for words in (
        ["--keep-every", "-1"],
        ["--gc-every", "0.5"],
        ["--inference-ranks", "0"],
        ["--dtype", "fp16"],
        ["--profile", "3"],
    ):
        with pytest.raises(SystemExit) as ended:
            main(["run", "tiny", *words])
        assert ended.value.code == 2
        assert f"argument {words[0]}" in capsys.readouterr().err


def test_what_is_only_declared_is_refused_before_anything_is_made(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, _, said = run(capsys, "run", "llama3-8b", "--out", str(tmp_path / "run"))
    assert code == 2
    assert "files.general, files.math, files.code, files.multilingual, tokenizer.file, alignment.rounds: only" in said
    assert not (tmp_path / "run").exists()


def test_a_dry_run_says_what_the_plan_says_and_makes_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = (str(SMOKE), "--out", str(tmp_path / "run"), "--gpus", "2")
    code, dry, _ = run(capsys, "run", *words, "--dry-run")
    assert code == 0
    assert dry == run(capsys, "plan", *words)[1]
    assert "times and costs are for H100s, as no device was named (--machine NAME)" in dry
    assert "no device was named" not in run(capsys, "run", *words, "--dry-run", "--machine", "h100")[1]
    assert not (tmp_path / "run").exists()


def test_a_run_whose_model_no_device_holds_is_refused_before_it_begins(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    small = tmp_path / "machines.yaml"
    small.write_text(
        "watch: {peak_flops: 1.0e+12, fp32_flops: 1.0e+12, memory_bytes: 1.0e+5, link: 1.0e+9, network: 1.0e+9, "
        "server: 8, price_per_hour: 1.0}\n"
    )
    recipe = load_recipe(str(SMOKE), recipes)

    def check(**changes: Any) -> str:
        usual = {"until": "evaluate_model", "sbatch": None, "device": "auto", "dtype": "auto", "price": None}
        device = {"machine": "watch", "machines": small, "ignore_memory": False}
        check_whole_models(recipe, tmp_path / "run", argparse.Namespace(**(usual | device | changes)))
        return capsys.readouterr().out

    with pytest.raises(SettingsError, match="no device holds the model whole; .* by --ignore-memory"):
        check()
    assert "evaluation holds the whole model on a device" in (said := capsys.readouterr().out)
    assert check(ignore_memory=True) == said
    assert not check(until="curate")  # nothing there holds one
    assert not check(machine=None, machines=None)  # this machine has room
    assert not check(machine=None, machines=None, sbatch=tmp_path / "job")
    words = ("run", str(SMOKE), "--out", str(tmp_path / "run"), "--jobs", "0", "--machine", "watch")
    code, _, err = run(capsys, *words, "--machines", str(small))
    assert code == 2
    assert "run until one fails by --ignore-memory" in err
    assert not (tmp_path / "run" / "artifacts").exists()
