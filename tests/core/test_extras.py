"""Heavy packages: imported by what wants them only, and named with their extra where they are missing."""

from __future__ import annotations

import ast
import importlib.metadata
import json
import re
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from herd.core.artifacts import ArtifactMetadata, write_metadata
from herd.core.errors import SettingsError
from herd.core.extras import ExtraPackage, folder_of_extra, import_extra, missing_words

ROOT = Path(__file__).parents[2]
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
# Modules of packages that are called otherwise.
PACKAGES = {
    "fasttext": "fasttext-numpy2",
    "math_verify": "math-verify",
    "latex2sympy2_extended": "latex2sympy2-extended",
    "antlr4": "antlr4-python3-runtime",
}
# Whatever an extra or the tests bring and the demo does not, with what these bring themselves.
HEAVY = set(
    "fasttext gguf lightgbm pandas pyright ray tensorboard tensorboardX tiktoken torchao transformers trackio triton "
    "wandb wordllama".split()
)


def names_of(requirements: list[str]) -> set[str]:
    return {
        "".join(letter if letter.isalnum() or letter in "-_" else " " for letter in one).split()[0]
        for one in requirements
    }


def test_light_commands_import_nothing_heavy(tmp_path: Path) -> None:
    made = tmp_path / "artifact"
    made.mkdir()
    cost = {"seconds": 1.0, "cpu_seconds": 1.0, "peak_bytes": 1}
    write_metadata(made, ArtifactMetadata("Corpus", "key", "stage", 1, "3.1", "code", {}, {}, {}, cost))
    commands = [
        ["--version"],
        *(["list", kind] for kind in ("filters", "losses", "tasks", "stages", "recipes", "studies")),
    ]
    commands += [["show", str(made)], ["plan", "tiny", "--out", str(tmp_path / "run")]]
    commands += [["budget", "--size", "8b", "--tokens", "1T", "--gpus", "8", "--tflops", "400"]]
    code = (
        "import json, sys, herd, contextlib, io\n"
        "from herd.cli import main, parser\n"
        "def loaded(): return sorted({name.split('.')[0] for name in sys.modules})\n"
        "found = {}\n"
        "parser().format_help()\n"
        "found['--help'] = 0, loaded()\n"
        f"for command in {commands!r}:\n"
        "    with contextlib.redirect_stdout(io.StringIO()):\n"
        "        try: code = main(command)\n"
        "        except SystemExit as end: code = end.code\n"
        "    found[' '.join(command)] = code, loaded()\n"
        "print(json.dumps(found))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    found = json.loads(done.stdout.splitlines()[-1])
    assert len(found) == len(commands) + 1
    assert {command: code for command, (code, _) in found.items() if code} == {}
    assert {command: sorted(set(names) & HEAVY) for command, (_, names) in found.items() if set(names) & HEAVY} == {}
    assert not {"torch", "numpy", "scipy", "matplotlib"} & set(found["--help"][1])
    assert "torch" not in found["list filters"][1]


def test_the_demo_installs_nothing_that_only_an_extra_wants() -> None:
    wanted = names_of(PROJECT["dependencies"])
    extras = set[str]().union(*(names_of(one) for one in PROJECT["optional-dependencies"].values())) - {"herd"}
    assert not wanted & extras
    assert len(extras) > 10


def used() -> Iterator[tuple[str, str, str]]:
    """Every use of an extra in herd: the file, the module and the extra's name."""
    for file in sorted((ROOT / "herd").rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Name):
                continue
            if node.func.id == "ExtraPackage" and isinstance(node.args[0], ast.Constant):
                assert isinstance(node.args[1], ast.Constant)
                yield file.name, str(node.args[0].value), str(node.args[1].value)


@pytest.mark.parametrize(("file", "module", "extra"), list(used()))
def test_the_extra_that_is_named_brings_the_package(file: str, module: str, extra: str) -> None:
    package = module.split(".")[0]
    assert PACKAGES.get(package, package) in names_of(PROJECT["optional-dependencies"][extra])


def test_uses_were_found() -> None:
    assert {extra for _, _, extra in used()} >= {
        "gguf",
        "ray",
        "quality",
        "float8",
        "mixing",
        "semantic",
        "tensorboard",
    }


def _quality() -> None:
    from herd.corpus.quality import _fasttext

    _fasttext()


def _regmix() -> None:
    import numpy as np

    from herd.mixing.methods.regmix import _lightgbm

    _lightgbm(np.zeros((5, 2)), np.zeros(5))


def _float8() -> None:
    import torch

    from herd.train.compute import _to_float8

    _to_float8(torch.nn.Linear(2, 2))


def _gguf() -> None:
    from herd.model.gguf import _library

    _library()


def _ray() -> None:
    from herd.run.executor_factory import make_executor

    make_executor("ray")


def _tracker(name: str) -> Callable[[], None]:
    def open_it() -> None:
        from herd.train.log import open_tracker

        open_tracker(name, Path("unused"), {})

    return open_it


@pytest.mark.parametrize(
    ("module", "extra", "use"),
    [
        ("fasttext", "quality", _quality),
        ("lightgbm", "mixing", _regmix),
        ("torchao", "float8", _float8),
        ("gguf", "gguf", _gguf),
        ("ray", "ray", _ray),
        *((name, name, _tracker(name)) for name in ("tensorboard", "wandb", "trackio")),
    ],
)
def test_a_missing_package_is_named_with_its_extra(
    module: str, extra: str, use: Callable[[], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [name for name in sys.modules if name.split(".")[0] == module]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, module, None)
    declared = importlib.metadata.requires("herd") or []
    own = [one.partition(";")[0].strip() for one in declared if re.search(rf"extra == .{extra}.", one)]
    with pytest.raises(SettingsError, match=rf"needs the package {module}: `pip install '") as told:
        use()
    assert str(told.value).endswith(" ".join(f"'{requirement}'" for requirement in own) + "`")
    assert PACKAGES.get(module, module) in str(told.value)


def test_a_package_of_which_only_files_are_wanted_is_named_too() -> None:
    package = ExtraPackage("no_such_package", "semantic", "an embedding of texts")
    assert not package.is_installed
    with pytest.raises(SettingsError, match=r"needs the package no_such_package: `pip install 'wordllama"):
        folder_of_extra(package)


def test_in_a_checkout_that_is_not_installed_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def requires(name: str) -> list[str]:
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "requires", requires)
    words = missing_words([ExtraPackage("gguf", "gguf", "a GGUF file")] * 2)
    assert words == f"a GGUF file needs the package gguf: `pip install '{ROOT}[gguf]'`"


def test_a_package_that_is_there_and_broken_is_not_called_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "broken_inside.py").write_text("import no_such_package\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(SettingsError, match="cannot be imported: No module named 'no_such_package'"):
        import_extra(ExtraPackage("broken_inside", "gguf", "a test"))
