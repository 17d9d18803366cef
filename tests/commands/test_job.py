"""Commands that write their recipe: what is written, what a change of numbers leaves, and what is refused."""

from __future__ import annotations

import argparse
from pathlib import Path

import pytest

from herd.commands.job import add_job_options, run_job
from herd.core.errors import SettingsError
from herd.core.recipe import load_recipe
from herd.core.settings import read_yaml
from herd.recipes import recipes
from tests.smoke import SMOKE

WIRING = '''
from herd.core.artifacts import Corpus
from herd.core.settings import PositiveInt, settings
from herd.core.stage import Work, stage
from herd.recipes import recipes

@settings
class JobSettings:
    size: PositiveInt = 3
    word: str = "x"

@stage(paper="-", version=1)
def write_word(work: Work, *, size: PositiveInt, word: str) -> Corpus:
    """A file."""
    (work.out / "text").write_text(word * size)
    return Corpus(work.out)

@recipes.add
def word_job(s: JobSettings) -> Corpus:
    """One file."""
    return write_word(size=s.size, word=s.word)
'''


@pytest.fixture(scope="module")
def wiring(tmp_path_factory: pytest.TempPathFactory) -> str:
    file = tmp_path_factory.mktemp("wiring") / "word_job.py"
    file.write_text(WIRING)
    return str(file)


def options(*arguments: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    add_job_options(parser)
    return parser.parse_args([*arguments, "--jobs", "0"])


def test_a_job_writes_the_recipe_that_herd_run_goes_on_with(
    wiring: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "run"
    run_job(wiring, {"size": 2}, folder, options("--set", "word=ab"))
    values, _ = read_yaml(folder / "recipe.yaml")
    assert values == {"recipe": wiring, "size": 2, "word": "ab"}
    made = capsys.readouterr().out.rpartition("made: ")[2].strip()
    assert (Path(made) / "text").read_text() == "abab"
    recipe = load_recipe(str(folder / "recipe.yaml"), recipes)
    assert recipe.plan().key == Path(made).name


def test_a_command_of_several_lines_stays_a_comment(
    wiring: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.argv", ["herd", "sft", "--tasks", "a:\nsize: 9\r\n\u2028word: q"])
    run_job(wiring, {"size": 2}, tmp_path / "run", options())
    assert read_yaml(tmp_path / "run" / "recipe.yaml")[0] == {"recipe": wiring, "size": 2}


def test_other_numbers_are_told_and_the_recipe_of_before_is_kept(
    wiring: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "run"
    for size in (2, 2, 4, 5):
        run_job(wiring, {"size": size}, folder, options())
    out = capsys.readouterr().out
    assert "size: 2 before, 4 now" in out
    assert [read_yaml(folder / name)[0]["size"] for name in ("recipe.1.yaml", "recipe.2.yaml", "recipe.yaml")] == [
        2,
        4,
        5,
    ]


def test_a_dry_run_and_a_refusal_leave_nothing(wiring: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "run"
    run_job(wiring, {"size": 2}, folder, options("--dry-run"))
    assert "to do  write_word  write_word-" in (out := capsys.readouterr().out)
    assert "size: 2" in out
    with pytest.raises(SettingsError, match="did you mean 'size'"):
        run_job(wiring, {"sise": 2}, folder, options())

    def refuse(recipe: object) -> None:
        raise SettingsError("rows are missing; name a file")

    with pytest.raises(SettingsError, match="name a file"):
        run_job(wiring, {"size": 2}, folder, options(), before=refuse)
    assert not folder.exists()


def test_devices_of_a_job_are_written_into_its_recipe(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "run"
    numbers, _ = read_yaml(SMOKE)
    run_job(
        str(numbers.pop("recipe")),
        numbers,
        folder,
        options("--gpus", "2", "--sbatch", str(tmp_path / "job"), "--gpus-per-node", "2"),
    )
    assert "base.layout={tensor: " in capsys.readouterr().out
    again = load_recipe(str(folder / "recipe.yaml"), recipes)
    assert again.settings.base.layout.devices == 2
    assert [stage.layout.devices for stage in again.settings.longer] == [2, 2]
    assert f"{folder / 'recipe.yaml'}" in (tmp_path / "job").read_text()
    assert not (folder / "artifacts").exists()
