"""Whoever is started imports the code of whoever starts it, wherever both stand."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from herd.core.same_python import module_command

_SAYS = "import json, sys; print(json.dumps([__name__, __spec__.name, __file__, sys.argv[1:], sys.path]))"


def package(root: Path, name: str, text: str) -> Path:
    (root / name).mkdir(parents=True)
    (root / name / "__init__.py").write_text("")
    (root / name / "told.py").write_text(text)
    return root / name / "told.py"


def test_a_package_of_the_same_name_in_the_working_directory_is_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    installed = package(tmp_path / "installed", "shepherd_for_tests", _SAYS)
    package(tmp_path / "checkout", "shepherd_for_tests", "raise SystemExit('the checkout ran')")
    (tmp_path / "checkout" / "json.py").write_text("raise SystemExit('a file beside ran')")
    monkeypatch.syspath_prepend(str(tmp_path / "installed"))
    command = module_command("shepherd_for_tests.told", "one", "two words")
    done = subprocess.run(command, cwd=tmp_path / "checkout", capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    name, spec, file, arguments, path = json.loads(done.stdout)
    assert (name, spec, arguments) == ("__main__", "shepherd_for_tests.told", ["one", "two words"])
    assert Path(file) == installed
    assert path == [place or str(Path.cwd()) for place in sys.path]


def test_what_only_the_starting_process_finds_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A notebook's own folder, or a checkout that `python -m` was started in."""
    package(tmp_path / "here", "flock_for_tests", _SAYS)
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.setattr(sys, "path", ["", *sys.path])
    command = module_command("flock_for_tests.told")
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)[4][0] == str(tmp_path / "here")
