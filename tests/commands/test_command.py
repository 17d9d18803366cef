"""Every file of commands/ that has a command is one of the command line's, and opens fast."""

from __future__ import annotations

import ast
import importlib
from pathlib import Path

import herd.commands
from herd.cli import COMMANDS

FOLDER = Path(herd.commands.__file__).parent
LIGHT = ("herd.commands", "herd.core.errors", "herd.core.terminal")


def test_no_command_is_forgotten() -> None:
    texts = {file.stem: file.read_text(encoding="utf-8") for file in FOLDER.glob("*.py")}
    files = {name for name, text in texts.items() if "\nCOMMAND = " in text}
    assert files | {
        "__init__",
        "arguments",
        "batch_job",
        "benchmark_options",
        "command",
        "finetuning",
        "job",
        "launched",
        "recipe_file",
        "task_tables",
        "recipes",
    } == set(texts)
    commands = [importlib.import_module(f"herd.commands.{name}").COMMAND for name in files]
    assert {id(one) for one in commands} == {id(one) for one in COMMANDS}
    assert len({one.name for one in COMMANDS}) == len(COMMANDS)


def test_a_command_imports_what_it_runs_only_when_it_runs() -> None:
    for file in FOLDER.glob("*.py"):
        for node in ast.parse(file.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("herd"):
                assert node.module.startswith(LIGHT), f"{file.name} imports {node.module} at its top"  # type: ignore[union-attr]
