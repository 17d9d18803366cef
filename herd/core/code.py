"""A fingerprint of the code that a stage runs: its own file and all modules of herd that it imports."""

from __future__ import annotations

import ast
import contextlib
import functools
import hashlib
import json
from collections.abc import Iterable, Iterator
from pathlib import Path

_ROOT = Path(__file__).parents[1]
_BOOK = "code.json"
_MOST_KEPT = 5_000  # entries of the book, the newest ones


def fingerprint(module: str, file: Path, plugins: Iterable[str] = ()) -> str:
    """12 digits that change when code does in `file` or in what it imports of herd, directly or by way of others, and
    not when a comment or docstring does.

    Where a registry of plug-ins is imported, all its plug-ins count. module: the name of what is in `file`. plugins:
    modules of herd that count too, though nothing imports them. Read from sources, so nothing is imported; what a text
    came to is kept, by its hash, for the next process.
    """
    book = _Book()
    reached = {module: book.look_up(file)}
    reached |= {name: book.look_up(found) for name in plugins if (found := _file_of(name)) is not None}
    todo = list(reached)
    while todo:
        for name in _imported(todo.pop(), reached):
            if name not in reached and (found := _file_of(name)) is not None:
                reached[name] = book.look_up(found)
                todo.append(name)
    book.save()
    text = json.dumps(sorted((name if name != module else "", digest) for name, (digest, _) in reached.items()))
    return hashlib.sha256(text.encode()).hexdigest()[:12]


Looked = tuple[str, tuple[str, ...]]  # what a file's code comes to, and the names it imports
_LOOKED_AT: dict[str, Looked] = {}  # in this process


def _imported(name: str, reached: dict[str, Looked]) -> Iterator[str]:
    for found in reached[name][1]:
        yield found
        # A name from herd.a is a module of that room or something its __init__ holds, which runs in any case.
        parts = found.split(".")
        yield from (".".join(parts[:end]) for end in range(2, len(parts)))


@functools.cache
def _file_of(name: str) -> Path | None:
    """The file of a module of herd; None for other names, such as a function's."""
    first, *parts = name.split(".")
    if first != "herd" or not parts:
        return None
    place = _ROOT.joinpath(*parts)
    return next((file for file in (place / "__init__.py", place.with_suffix(".py")) if file.is_file()), None)


class _Book:
    """What texts came to, by their hash: parsing all of herd takes a second or two, and reading it nothing."""

    def __init__(self) -> None:
        from herd.core.cache import cache_folder

        self._known, self._file, self._new = _LOOKED_AT, None, False
        # Without a place for the book everything is parsed, which is slower and no fault.
        with contextlib.suppress(OSError, ValueError, TypeError):
            self._file = cache_folder() / _BOOK
            rows = json.loads(self._file.read_text(encoding="utf-8"))
            for name, (digest, imports) in rows.items():
                self._known.setdefault(name, (digest, tuple(imports)))

    def look_up(self, file: Path) -> Looked:
        content = file.read_bytes()
        beside = _natives(file, content)
        name = hashlib.sha256(b"\0".join((str(_package(file)).encode(), content, *beside))).hexdigest()[:32]
        if name not in self._known:
            self._known[name], self._new = _look_at(file, content, beside), True
        return self._known[name]

    def save(self) -> None:
        from herd.core.artifacts import write_whole

        if self._new and self._file is not None:
            kept = dict(list(self._known.items())[-_MOST_KEPT:])
            with contextlib.suppress(OSError):
                write_whole(self._file, json.dumps(kept))


def _package(file: Path) -> str:
    """By whose files a registry's imports are decided: the names of the plug-ins beside an __init__."""
    return ",".join(sorted(one.stem for one in file.parent.glob("*.py"))) if file.name == "__init__.py" else ""


def _natives(file: Path, content: bytes) -> list[bytes]:
    """The C++ beside a file that loads it."""
    folder = file.parent / "native"
    if b"native" not in content or not file.is_relative_to(_ROOT) or not folder.is_dir():
        return []
    return [one.read_bytes() for one in sorted(folder.iterdir()) if one.suffix in (".cpp", ".hpp", ".inc")]


def _look_at(file: Path, content: bytes, beside: list[bytes]) -> Looked:
    tree = ast.parse(content)
    imports = set[str]()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            imports |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            imports |= {f"{node.module}.{alias.name}" for alias in node.names}
    if file.name == "__init__.py" and file.is_relative_to(_ROOT) and b"Registry(" in content:
        room = ".".join(("herd", *file.parent.relative_to(_ROOT).parts))
        imports |= {f"{room}.{one.stem}" for one in file.parent.glob("*.py") if one.name != file.name}
    digest = hashlib.sha256(ast.dump(_without_docstrings(tree)).encode())
    for one in beside:
        digest.update(one)
    ours = sorted(name for name in imports if name.startswith("herd."))
    return digest.hexdigest()[:32], tuple(ours)


def _without_docstrings(tree: ast.Module) -> ast.Module:
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            first = node.body[0] if node.body else None
            if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant):
                node.body = node.body[1:]
    return tree
