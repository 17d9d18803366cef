"""What `herd run`, `herd study` and `herd plan` share: the recipe that is named, and the folder of its run."""

from __future__ import annotations

from pathlib import Path

import pytest

from herd.cli import parser
from herd.commands.recipes import resolve_recipe, run_folder
from herd.core.errors import SettingsError


def named(*words: str) -> tuple[str, Path]:
    recipe, folder = resolve_recipe(parser().parse_args(list(words)))
    return recipe.name, folder


def test_a_run_lies_under_its_recipes_name_or_where_it_was_said(tmp_path: Path) -> None:
    assert named("run", "tiny") == ("tiny", Path("runs/tiny"))
    assert named("plan", "tiny", "--out", "there") == ("tiny", Path("there"))
    mine = tmp_path / "mine.yaml"
    mine.write_text("recipe: tiny\ntitle: of mine\n")
    assert named("plan", str(mine)) == ("tiny", Path("runs/mine"))


def test_a_recipe_that_a_job_wrote_goes_on_in_the_folder_it_lies_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = tmp_path / "sft-mine"
    run.mkdir()
    (run / "recipe.yaml").write_text("recipe: tiny\n")
    assert named("run", str(run / "recipe.yaml")) == ("tiny", run)
    assert named("run", str(run / "recipe.yaml"), "--scale", "1e-3")[1] == tmp_path / "sft-mine-scale-0.001"
    monkeypatch.chdir(run)
    assert named("run", "recipe.yaml")[1].resolve() == run


def test_the_folder_of_a_run_is_found_without_planning_it(monkeypatch: pytest.MonkeyPatch) -> None:
    words = (["run", "tiny"], ["run", "tiny", "--scale", "0.5"], ["run", "tiny", "--rehearse"], ["plan", "tiny"])
    options = [parser().parse_args(arguments) for arguments in words]
    folders = [resolve_recipe(parsed)[1] for parsed in options]
    monkeypatch.setattr("herd.core.recipe.Recipe.plan", lambda _: pytest.fail("planned"))
    assert [run_folder(parsed) for parsed in options] == folders
    assert folders[1] == Path("runs/tiny-scale-0.5")


def test_studies_and_recipes_are_found_by_name_and_a_study_only_among_studies() -> None:
    assert named("plan", "alignment") == named("study", "alignment") == ("alignment", Path("runs/alignment"))
    with pytest.raises(SettingsError, match="'tiny' is not one of the studies"):
        named("study", "tiny")


def test_the_numbers_of_a_study_in_a_file_are_planned_and_run_as_the_study(tmp_path: Path) -> None:
    mine = tmp_path / "mine.yaml"
    mine.write_text("recipe: alignment\ntitle: of mine\n")
    assert named("plan", str(mine)) == named("run", str(mine)) == named("study", str(mine))
    assert named("plan", str(mine)) == ("alignment", Path("runs/mine"))
    with pytest.raises(SettingsError, match="'tinny' is not one of the recipes; did you mean 'tiny'"):
        named("plan", "tinny")


def test_later_sets_lie_over_earlier_ones() -> None:
    options = parser().parse_args(["run", "tiny", "--set", "title=a", "--set", "title=b", "--plugins", "x.py"])
    assert (options.set, options.plugins) == (["title=a", "title=b"], ["x.py"])
    options.plugins = []
    recipe, _ = resolve_recipe(options)
    assert recipe.settings.title == "b"


def test_a_rehearsal_lies_in_a_folder_of_its_own_and_says_what_it_leaves_out(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert named("run", "llama3-8b", "--scale", "3e-7") == ("llama3-8b", Path("runs/llama3-8b-scale-3e-07"))
    told = capsys.readouterr().out
    assert "llama3-8b at scale 3e-07" in told
    assert "alignment is not tried" in told
    assert "base.tokens" not in told
    assert named("plan", "llama3-8b", "--scale", "3e-7", "--out", "there") == ("llama3-8b", Path("there"))
    assert "base.tokens: 15,600,000,000,000 -> 4,681,728" in capsys.readouterr().out
    named("plan", "llama3-8b", "--scale", "3e-7", "--yaml")
    assert not capsys.readouterr().out  # what a program reads stays alone
    _, folder = named("run", "llama3-8b", "--rehearse")
    assert folder.name.startswith("llama3-8b-scale-")


def test_a_scale_is_a_share_and_no_other_choice_stands_beside_it(capsys: pytest.CaptureFixture[str]) -> None:
    for words in (["--scale", "2"], ["--scale", "many"], ["--scale", "1e-6", "--rehearse"]):
        with pytest.raises(SystemExit):
            parser().parse_args(["run", "llama3-8b", *words])
    assert "not allowed with" in capsys.readouterr().err
