"""The examples of docs/extend.md are whole: what stands there runs."""

from __future__ import annotations

import ast
import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

from herd.cli import main
from herd.core import plugins
from herd.core.plugins import load_file
from herd.core.registry import Registry
from herd.evals.harness import TaskScore, evaluate
from herd.evals.tasks import tasks
from tests.evals.models import Scripted
from tests.imported import imported
from tests.test_house import FLOORS, HERD, imports, room
from tests.tokens.test_chat import TOKENIZER

ROOT = Path(__file__).parent.parent
DOC = ROOT / "docs" / "extend.md"
_FILE = re.compile(r"`([\w./]+\.(?:py|yaml))`(?:(?!```).)*?\n\n```(?:python|yaml)\n(.*?)```", re.DOTALL)


def code_under(title: str) -> str:
    """The first block of Python in a section."""
    section = re.search(rf"^## {re.escape(title)}$(.*?)(?=^## |\Z)", DOC.read_text(encoding="utf-8"), re.M | re.S)
    assert section is not None, f"docs/extend.md has no section {title!r}"
    block = re.search(r"```python\n(.*?)```\n(?=\n|\Z)", section[1], re.S)
    assert block is not None
    return block[1]


@pytest.mark.skipif(sys.platform != "linux", reason="the sandbox wants Linux's seccomp")
def test_the_task_is_asked_by_the_command_that_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "small_programs.py").write_text(code_under("A task in one file"), encoding="utf-8")
    imported(tmp_path / "MODEL")
    command = re.search(r"`herd (eval MODEL 'small_programs: [^`]*)`", DOC.read_text(encoding="utf-8"))
    assert command is not None
    monkeypatch.setattr(tasks, "_plugins", dict(tasks.all()))
    monkeypatch.setattr(plugins, "_loaded", {})
    monkeypatch.chdir(tmp_path)
    assert main([*shlex.split(command[1]), "--json"]) == 0
    row = json.loads(capsys.readouterr().out)["tasks"]["small_programs"]
    # Of a model of random weights: no answer is a program, and that is known, not void.
    assert (row["questions"], row["share"], row["void"]) == (3, 0.0, 0)


@pytest.fixture
def small_programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The task as a file, among the tasks for as long as the test."""
    file = tmp_path / "small_programs.py"
    file.write_text(code_under("A task in one file"), encoding="utf-8")
    monkeypatch.setattr(tasks, "_plugins", dict(tasks.all()))
    monkeypatch.delitem(sys.modules, "small_programs", raising=False)
    module = load_file(file, "small_programs")
    monkeypatch.delitem(sys.modules, "small_programs")
    return module


RIGHT = {
    "middle": "    return sorted([a, b, c])[1]\n",
    "squeeze": "    return ''.join(x for n, x in enumerate(text) if n == 0 or text[n - 1] != x)\n",
    "steps_down": "    return sum(b < a for a, b in zip(numbers, numbers[1:]))\n",
}


def scores(module: ModuleType, say: Callable[[str], str], *, chat: bool = False, **settings: object) -> TaskScore:
    task = tasks.make(tasks.configure("small_programs", **settings))()
    found = evaluate(Scripted(TOKENIZER, say), TOKENIZER, task, chat=chat)
    assert isinstance(found, TaskScore)
    return found


def named(asked: str) -> str:
    return re.findall(r"def (\w+)", asked)[-1]


@pytest.mark.skipif(sys.platform != "linux", reason="the sandbox wants Linux's seccomp")
def test_a_task_in_one_file_grades_programs(small_programs: ModuleType) -> None:
    """Row by row: a right program, one that is wrong for some calls, and one that lies about its result."""
    assert isinstance(tasks, Registry)
    assert scores(small_programs, lambda asked: RIGHT[named(asked)] + "\ndef more(): pass").scores == (1.0, 1.0, 1.0)

    def mixed(asked: str) -> str:
        lies = "    import sys\n    class Anything:\n        __eq__ = lambda self, other: True\n    return Anything()\n"
        return {"middle": "    return b\n", "squeeze": RIGHT["squeeze"], "steps_down": lies}[named(asked)]

    found = scores(small_programs, mixed)
    assert found.scores == (0.0, 1.0, 0.0)
    assert [one.grade.reason for one in found.answers] == [
        "2 of 3 calls are right",
        "3 of 3 calls are right",
        "a value that is no plain data (TypeError)",
    ]
    whole = "Here it is:\n```python\ndef {name}{body}```\nIt sorts."
    bodies = {"middle": "(a, b, c):\n", "squeeze": "(text):\n", "steps_down": "(numbers):\n"}

    def chatting(asked: str) -> str:
        name = named(asked)
        return whole.format(name=name, body=bodies[name] + RIGHT[name])

    assert scores(small_programs, chatting, chat=True).scores == (1.0, 1.0, 1.0)


def hunks_of(title: str) -> list[tuple[str, str, str]]:
    """The changes that a section shows: a file, lines of it, and these lines afterwards."""
    section = DOC.read_text(encoding="utf-8").partition(f"\n## {title}\n")[2].partition("\n## ")[0]
    found, file = [], ""
    for name, block in re.findall(r"^`([\w/]+\.py)`:|```diff\n(.*?)```", section, re.M | re.S):
        file = name or file
        if block:
            lines = block.splitlines()
            before, after = ("".join(f"{line[1:]}\n" for line in lines if line[0] in signs) for signs in (" -", " +"))
            found.append((file, before, after))
    return found


def test_an_architecture_feature_is_the_commit_that_is_shown(tmp_path: Path) -> None:
    """Applied to a copy of herd: parity with transformers, and every back-end over it or kept from it."""
    files: dict[str, str] = {}
    hunks = hunks_of("An architecture feature")
    assert len(hunks) == 12
    for name, before, after in hunks:
        text = files.setdefault(name, (ROOT / name).read_text(encoding="utf-8"))
        assert text.count(before) == 1, f"docs/extend.md changes lines that {name} does not have once:\n{before}"
        files[name] = text.replace(before, after)
    for part in ("herd", "herd/model", "tests", "tests/model"):
        (tmp_path / part).mkdir()
        for entry in (ROOT / part).iterdir():
            place = f"{part}/{entry.name}"
            if entry.name not in ("__pycache__", "conftest.py") and place not in ("herd/model", "tests/model"):
                (tmp_path / part / entry.name).symlink_to(entry)
    for name, text in files.items():
        (tmp_path / name).unlink()
        (tmp_path / name).write_text(text, encoding="utf-8")
    chosen = "granite or back_end or count_of_weights or no_family"
    unwritten = "tests/model/test_config.py::test_a_shape_that_no_family_has_is_not_written"
    done = pytest_in(tmp_path, "tests/model/test_architecture.py", unwritten, "-k", chosen)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "13 passed" in done.stdout


def pytest_in(folder: Path, *tests: str) -> subprocess.CompletedProcess[str]:
    """The tests of a copy of herd."""
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-c", str(ROOT / "pyproject.toml")]
    return subprocess.run(
        [*command, "--rootdir", str(folder), *tests], cwd=folder, capture_output=True, text=True, check=False,
        env=os.environ | {"PYTHONPATH": str(folder)},
    )  # fmt: skip


def files_of(title: str) -> dict[str, str]:
    """The files that a section shows: each is a block of code after a sentence that starts with its name."""
    _, found, rest = DOC.read_text(encoding="utf-8").partition(f"\n## {title}\n")
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
    done = pytest_in(tmp_path, "tests/glossary")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "1 passed" in done.stdout
