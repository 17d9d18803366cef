"""`herd study`: studies, with all that a run can be told."""

from __future__ import annotations

import argparse

import pytest

from herd.cli import main, parser
from herd.commands import run, study


def options_of(add) -> set[str]:
    made = argparse.ArgumentParser()
    add(made)
    return {word for action in made._actions for word in (*action.option_strings, action.dest)}


def test_a_study_is_told_what_a_run_is_told_and_runs_as_one() -> None:
    assert options_of(study.add_options) == options_of(run.add_options)
    assert study.COMMAND.run is run.run
    options = parser().parse_args(["study", "alignment", "--jobs", "0"])
    assert options.command is study.COMMAND


def test_what_is_no_study_is_refused_before_anything_runs(tmp_path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["study", "alinment", "--out", str(tmp_path / "run")]) == 2
    assert "'alinment' is not one of the studies; did you mean 'alignment'" in capsys.readouterr().err
    assert main(["study", "alignment", "--out", str(tmp_path / "run"), "--set", "seds=[1]"]) == 2
    assert not (tmp_path / "run").exists()
