"""Which files of herd a piece of code depends on, and one hash over all of them."""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Iterator
from functools import cache
from pathlib import Path

HERD = Path(__file__).parent.parent


def fingerprint(file: Path) -> str:
    """A hash of `file` and of every file of the repository that it imports, itself or through others.

    Blind to comments and docstrings of Python; of a folder with modules among them, its other files count as they are.
    """
    digest = hashlib.sha256()
    for member in sorted(_closure(file)):
        digest.update(member.name.encode())
        digest.update(_content(member))
    return digest.hexdigest()[:12]


def _closure(file: Path) -> set[Path]:
    files, waiting = set(), [file]
    while waiting:
        member = waiting.pop()
        if member in files:
            continue
        files.add(member)
        waiting += _imports(member)
    return files | {other for folder in {member.parent for member in files} for other in _companions(folder)}


@cache
def _imports(file: Path) -> tuple[Path, ...]:
    """The files that `file` imports from this repository, wherever in it the import stands."""
    return tuple(path for name in _names(file) for path in _locate(name))


def _names(file: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Call) and any(_says(part, "Registry") for part in ast.walk(node.func)):
            # Plug-ins are found by their place: the modules beside the registry are imported when one is looked up.
            yield from (f"{_dotted(file.parent)}.{path.stem}" for path in file.parent.glob("*.py"))
        elif isinstance(node, ast.List) and any(_says(part, "herd") for part in node.elts):
            yield "herd.__main__"  # a command line: a test that runs the program depends on all of it


def _says(node: ast.AST, word: str) -> bool:
    return (isinstance(node, ast.Name) and node.id == word) or (isinstance(node, ast.Constant) and node.value == word)


def _dotted(folder: Path) -> str:
    return ".".join(folder.relative_to(HERD.parent).parts) if folder.is_relative_to(HERD) else ""


def _locate(name: str) -> Iterator[Path]:
    parts = name.split(".")
    if parts[0] not in ("herd", "tests"):
        return
    # Importing a.b.c runs a and a.b too.
    for length in range(1, len(parts) + 1):
        path = HERD.parent.joinpath(*parts[:length])
        yield from (file for file in (path / "__init__.py", path.with_suffix(".py")) if file.is_file())


@cache
def _companions(folder: Path) -> tuple[Path, ...]:
    """Files beside modules that are not Python: tables, templates, sources of compiled parts."""
    if not folder.is_relative_to(HERD):
        return ()
    beside = [*folder.iterdir(), *(folder / "native").glob("*")]
    return tuple(file for file in beside if file.is_file() and file.suffix not in (".py", ".pyc", ".so"))


@cache
def _content(file: Path) -> bytes:
    if file.suffix != ".py":
        return file.read_bytes()
    return ast.dump(_without_docstrings(ast.parse(file.read_text(encoding="utf-8")))).encode()


def _without_docstrings(tree: ast.Module) -> ast.Module:
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) and ast.get_docstring(
            node
        ):
            node.body = node.body[1:]
    return tree
