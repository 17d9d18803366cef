"""The examples of docs/extend.md, run as they stand there."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.test_house import FLOORS, HERD, imports, room

PAGE = HERD.parent / "docs" / "extend.md"
_FILE = re.compile(r"`([\w./]+\.(?:py|yaml))`(?:(?!```).)*?\n\n```(?:python|yaml)\n(.*?)```", re.DOTALL)


def files_of(title: str) -> dict[str, str]:
    """The files that a section shows: each is a block of code after a sentence that starts with its name."""
    _, found, rest = PAGE.read_text(encoding="utf-8").partition(f"\n## {title}\n")
    assert found, f"docs/extend.md has no section {title!r}"
    section = rest.partition("\n## ")[0]
    return {match[1]: match[2] for match in _FILE.finditer(section)}


def write(files: dict[str, str], folder: Path) -> None:
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8")


def test_a_filter_in_your_own_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = files_of("A filter in your own file")
    assert set(files) == {"mine.py", "rules.yaml"}
    write(files, tmp_path)
    monkeypatch.chdir(tmp_path)
    Path("pages.jsonl").write_text(
        '{"text": "The river rose for three days, and then it fell."}\n{"text": "12 40 7.5 1999 8 81 2024"}\n'
    )
    command = "curate pages.jsonl --out out --plugins mine.py --rules rules.yaml --workers 1"
    done = subprocess.run(
        [sys.executable, "-m", "herd", *command.split()], capture_output=True, text=True, check=False,
        env=os.environ | {"PYTHONPATH": str(HERD.parent)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    funnel = next(line for line in done.stdout.splitlines() if "many_digits" in line)
    assert funnel.split()[1:3] == ["2", "1"]  # documents in, and dropped


def test_a_stage_in_a_new_room(tmp_path: Path) -> None:
    files = files_of("A stage in a new room")
    floor = files.pop("tests/test_house.py")
    assert set(files) == {"herd/glossary/__init__.py", "herd/glossary/stages.py", "tests/glossary/test_stages.py"}
    (tmp_path / "herd").mkdir()
    for entry in HERD.iterdir():
        if entry.name != "__pycache__":
            (tmp_path / "herd" / entry.name).symlink_to(entry)
    write(files, tmp_path)
    floors = FLOORS | ast.literal_eval(f"{{{floor}}}")
    for name, text in files.items():
        if name.startswith("herd/"):
            rooms = {room(one) for one in imports(ast.parse(text)) if one.startswith("herd.")} - {"glossary"}
            assert all(floors[one] < floors["glossary"] for one in rooms)
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests/glossary"], cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(tmp_path)}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert "1 passed" in done.stdout
