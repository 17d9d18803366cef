"""The examples of docs/extend.md are whole: what stands there runs."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

from herd.core.plugins import load_file
from herd.core.registry import Registry
from herd.evals.harness import TaskScore, evaluate
from herd.evals.tasks import tasks
from tests.evals.models import Scripted
from tests.tokens.test_chat import TOKENIZER

ROOT = Path(__file__).parent.parent
DOC = ROOT / "docs" / "extend.md"
# A file, what is said of it, and lines of it.
SHOWN = re.compile(r"^`([\w/]+\.py)`:[^\n]*\n\n```python\n(.*?)```", re.MULTILINE | re.DOTALL)


def code_under(title: str) -> str:
    """The first block of Python in a section."""
    section = re.search(rf"^## {re.escape(title)}$(.*?)(?=^## |\Z)", DOC.read_text(encoding="utf-8"), re.M | re.S)
    assert section is not None, f"docs/extend.md has no section {title!r}"
    block = re.search(r"```python\n(.*?)```\n(?=\n|\Z)", section[1], re.S)
    assert block is not None
    return block[1]


@pytest.fixture
def small_programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The task as a file, among the tasks for as long as the test."""
    file = tmp_path / "small_programs.py"
    file.write_text(code_under("A task in one file"), encoding="utf-8")
    monkeypatch.setattr(tasks, "_found", dict(tasks.all()))
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
    task = tasks.make(tasks.use("small_programs", **settings))()
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
    assert [one.grade.why for one in found.answers] == [
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


def test_the_lines_of_an_architecture_feature_stand_in_the_files_that_are_named() -> None:
    section = DOC.read_text(encoding="utf-8").split("## An architecture feature")[1].split("\n## ")[0]
    shown = SHOWN.findall(section)
    assert len(shown) == section.count("```python") == 7
    for file, lines in shown:
        held = (ROOT / file).read_text(encoding="utf-8").splitlines()
        for line in lines.splitlines():
            assert line in held, f"docs/extend.md shows a line that {file} has not: {line.strip()}"
